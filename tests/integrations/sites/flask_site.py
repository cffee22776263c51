"""The site in Flask: ``gunicorn tests.integrations.sites.flask_site:app``."""

from __future__ import annotations

from datetime import timedelta

from flask import Flask, jsonify, session
from flask.typing import ResponseReturnValue
from flask_session import Session

from dynmemo.integrations.cachelib import DynmemoCache
from tests.integrations.sites import IDLE_SECONDS, LONGEST_SECONDS, URL, at_test_time, counted

cache = DynmemoCache(URL, region="site", sliding=IDLE_SECONDS)
at_test_time(cache.sealed)

app = Flask(__name__)
app.config.update(
    SESSION_TYPE="cachelib",
    SESSION_CACHELIB=cache,
    SESSION_REFRESH_EACH_REQUEST=False,
    PERMANENT_SESSION_LIFETIME=timedelta(seconds=LONGEST_SECONDS),
)
Session(app)


@app.get("/")
def count() -> str:
    session["visits"] = session.get("visits", 0) + 1
    return str(session["visits"])


@app.get("/look")
def look() -> str:
    return str(session.get("visits", 0))


@app.get("/info")
def info() -> ResponseReturnValue:
    return jsonify(counted(cache.sealed))
