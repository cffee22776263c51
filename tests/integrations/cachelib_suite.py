"""cachelib's own tests on `DynmemoCache`, for a pytest of their own: DYNMEMO_SUITE_URL is the store."""

from __future__ import annotations

import os
import sys
from itertools import count
from types import SimpleNamespace
from typing import Any

sys.modules["xprocess"] = SimpleNamespace(ProcessStarter=object)  # type: ignore[assignment]  # for servers of others

import common
from clear import ClearTests
from common import CommonTests
from delete_many_with_prefix import DeleteManyWithPrefixTests
from has import HasTests

from dynmemo.integrations.cachelib import DynmemoCache
from dynmemo.testing import Clock

CLOCK = Clock.present()
_regions = map(str, count())


def sleep(seconds: float) -> None:
    CLOCK.now += seconds


common.sleep = sleep


class TestDynmemoCache(CommonTests, ClearTests, HasTests, DeleteManyWithPrefixTests):
    def cache_factory(self, *arguments: Any, key_prefix: str = "", **options: Any) -> DynmemoCache:
        """An empty cache; what is a prefix elsewhere is a region here."""
        region = f"{key_prefix}{next(_regions)}"
        made = DynmemoCache(os.environ["DYNMEMO_SUITE_URL"], *arguments, region=region, **options)
        made.sealed.cache.clock = CLOCK
        return made
