"""Django's own tests of caches and sessions on `DynmemoCache`, in a process of their own.

python -m tests.integrations.django_suite URL       prints what was run and skipped, as JSON
"""

from __future__ import annotations

import json
import sys
import unittest
from types import SimpleNamespace
from typing import Any

from django.conf import settings

from dynmemo.integrations.django import DynmemoCache
from dynmemo.testing import Clock

CLOCK = Clock.present()
NO_CULLING = {"cull", "zero_cull"}
"""Without these caches Django's tests skip culling, as they do for memcached."""


class Backend(DynmemoCache):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sealed.cache.clock = CLOCK


def sleep(seconds: float) -> None:
    CLOCK.now += seconds


BACKEND = {
    "BACKEND": f"{__name__}.Backend",
    "LOCATION": sys.argv[1],
    "OPTIONS": {"secret": "a secret of the suite"},
}
settings.configure(
    SECRET_KEY="a key of the suite",
    INSTALLED_APPS=["django.contrib.sessions", "cache", "sessions_tests"],
    DATABASES={name: {"ENGINE": "django.db.backends.sqlite3"} for name in ("default", "other")},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    USE_I18N=False,  # whose files are not fetched
    USE_TZ=False,
    CACHES={"default": BACKEND},
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
)

import django

django.setup()

from cache import tests as of_caches
from django.test import TestCase, override_settings
from django.test.runner import DiscoverRunner
from sessions_tests import tests as of_sessions

of_caches.time = SimpleNamespace(sleep=sleep)


@override_settings(CACHES=of_caches.caches_setting_for_tests(base=BACKEND, exclude=NO_CULLING))
class DynmemoCacheTests(of_caches.BaseCacheTests, TestCase):
    pass


CASES = (
    DynmemoCacheTests,
    of_sessions.CacheSessionTests,
    of_sessions.CacheDBSessionTests,
    of_sessions.CacheDBSessionWithTimeZoneTests,
    of_sessions.SessionMiddlewareTests,
)


of_sessions.SessionMiddlewareTests.test_empty_session_saved = unittest.skip("It looks for the session in a database.")(
    of_sessions.SessionMiddlewareTests.test_empty_session_saved
)


class Runner(DiscoverRunner):
    def build_suite(self, *arguments: Any, **options: Any) -> unittest.TestSuite:
        return unittest.TestSuite(map(self.test_loader.loadTestsFromTestCase, CASES))

    def suite_result(self, suite: unittest.TestSuite, result: unittest.TestResult, **options: Any) -> int:
        skipped = {test.id().rpartition(".")[2]: why for test, why in result.skipped}
        failed = [test.id() for test, _ in (*result.failures, *result.errors)]
        print(json.dumps({"ran": result.testsRun, "skipped": skipped, "failed": failed}))
        return len(failed)


if __name__ == "__main__":
    sys.exit(bool(Runner(verbosity=1).run_tests([])))
