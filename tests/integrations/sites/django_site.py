"""The site in Django: ``gunicorn tests.integrations.sites.django_site:app``."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from tests.integrations.sites import IDLE_SECONDS, LONGEST_SECONDS, URL, at_test_time, counted

settings.configure(
    SECRET_KEY="a key of the site",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    SESSION_COOKIE_AGE=LONGEST_SECONDS,
    CACHES={
        "default": {
            "BACKEND": "dynmemo.integrations.django.DynmemoCache",
            "LOCATION": URL,
            "OPTIONS": {"region": "site", "sliding": IDLE_SECONDS},
        }
    },
)

from django.core.cache import caches
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path


def count(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(request.session["visits"])


def look(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.session.get("visits", 0))


def info(request: HttpRequest) -> HttpResponse:
    return JsonResponse(counted(caches["default"].sealed), safe=False)


urlpatterns = [path("", count), path("look", look), path("info", info)]
made: Any = caches["default"]
at_test_time(made.sealed)
app: WSGIHandler = get_wsgi_application()
