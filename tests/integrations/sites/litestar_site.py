"""The site in Litestar: ``uvicorn tests.integrations.sites.litestar_site:app``."""

from __future__ import annotations

from litestar import Litestar, MediaType, Request, get
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.stores.registry import StoreRegistry

from dynmemo.integrations.litestar import DynmemoStore
from tests.integrations.sites import IDLE_SECONDS, URL, at_test_time, counted

store = DynmemoStore(URL, region="site")
at_test_time(store.sealed)


@get("/", media_type=MediaType.TEXT)
async def count(request: Request) -> str:  # type: ignore[type-arg]
    request.session["visits"] = request.session.get("visits", 0) + 1
    return str(request.session["visits"])


@get("/look", media_type=MediaType.TEXT)
async def look(request: Request) -> str:  # type: ignore[type-arg]
    return str(request.session.get("visits", 0))


@get("/info", opt={"skip_session": True})
async def info() -> list[float]:
    return counted(store.sealed)


app = Litestar(
    [count, look, info],
    middleware=[ServerSideSessionConfig(max_age=IDLE_SECONDS).middleware],
    stores=StoreRegistry({"sessions": store}),
)
