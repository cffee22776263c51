"""The pages of a scan, one after the other or of several segments of the table at once."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, wait
from typing import TYPE_CHECKING, Any

from dynmemo._daemons import Daemons

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    Page = dict[str, Any]
    """A request's parameters, or the answer to it."""


def pages(send: Callable[[Page], Page], request: Page, segments: int) -> Iterator[Page]:
    """The answers to `request` and to those that follow it, to the end of the table.

    Args:
        send: makes one request.
        request: its parameters.
        segments: how many parts of the table are read at once, each in a thread. The pages come as they arrive, and
            no more are fetched ahead than one for each segment.
    """
    if segments == 1:
        following: Page | None = request
        while following is not None:
            page = send(following)
            following = _next(following, page)
            yield page
        return
    pool = Daemons(segments, "dynmemo-scan")
    try:
        parts = [{**request, "Segment": segment, "TotalSegments": segments} for segment in range(segments)]
        running: dict[Future[Page], Page] = {pool.submit(send, part): part for part in parts}
        while running:
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                page = done.result()
                following = _next(running.pop(done), page)
                if following is not None:
                    running[pool.submit(send, following)] = following
                yield page
    finally:
        pool.end()


def _next(request: Page, page: Page) -> Page | None:
    """The request for the page after `page`; None after the last one."""
    return {**request, "ExclusiveStartKey": page["LastEvaluatedKey"]} if "LastEvaluatedKey" in page else None
