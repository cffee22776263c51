"""The site in FastAPI with starsessions: ``uvicorn tests.integrations.sites.fastapi_site:app``."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from starsessions import SessionMiddleware, load_session

from dynmemo.integrations.starsessions import DynmemoStore
from tests.integrations.sites import IDLE_SECONDS, LONGEST_SECONDS, URL, at_test_time, counted

store = DynmemoStore(URL, region="site", sliding=IDLE_SECONDS)
at_test_time(store.sealed)

app = FastAPI()
app.add_middleware(SessionMiddleware, store=store, lifetime=LONGEST_SECONDS, cookie_https_only=False)


@app.get("/", response_class=PlainTextResponse)
async def count(request: Request) -> str:
    await load_session(request)
    request.session["visits"] = request.session.get("visits", 0) + 1
    return str(request.session["visits"])


@app.get("/look", response_class=PlainTextResponse)
async def look(request: Request) -> str:
    await load_session(request)
    return str(request.session.get("visits", 0))


@app.get("/info")
async def info() -> list[float]:
    return counted(store.sealed)
