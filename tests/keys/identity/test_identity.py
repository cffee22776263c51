"""Options, speed, threads, the user's own code and that of others."""

from __future__ import annotations

import functools
import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dynmemo import InvalidOptionError, UnhashableArgumentError
from dynmemo.keys.digest import digest
from dynmemo.keys.identity import CodeIdentity, class_identity
from dynmemo.keys.own import is_own_file, is_own_module
from dynmemo.keys.snapshots import Tracker
from tests.keys.identity.helpers import changed_meanwhile, listed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.keys.identity.helpers import Lab


def plain(x: int) -> int:
    return x


class TestOptions:
    def test_deep_is_32_hex_digits(self) -> None:
        current = CodeIdentity(plain).current()
        assert len(current) == 32
        assert set(current) <= set("0123456789abcdef")

    def test_off_counts_nothing(self) -> None:
        assert CodeIdentity(plain, code="off").current() == "off"

    def test_a_version_stands_as_it_is(self) -> None:
        assert CodeIdentity(plain, version="2024-1").current() == "v2024-1"
        assert CodeIdentity(plain, version=3).current() == "v3"
        assert CodeIdentity(plain, version="off").current() == "voff"

    def test_a_version_goes_before_code(self) -> None:
        assert CodeIdentity(plain, version=3, code="off").current() == "v3"

    def test_a_version_is_escaped_for_keys(self) -> None:
        assert CodeIdentity(plain, version="a:b#c%d~e").current() == "va%3Ab%23c%25d%7Ee"

    def test_a_long_version_ends_in_its_hash(self) -> None:
        first, second = (CodeIdentity(plain, version="é" * 200 + end).current() for end in "ab")
        assert first != second
        assert len(first.encode()) <= 101

    @pytest.mark.parametrize("version", ["", True, 1.5, b"1", object()])
    def test_other_versions_are_refused(self, version: Any) -> None:
        with pytest.raises(InvalidOptionError, match="version="):
            CodeIdentity(plain, version=version)

    def test_other_modes_are_refused_with_what_is_allowed(self) -> None:
        with pytest.raises(InvalidOptionError, match=r"code='all'.*'deep', 'own', 'off'"):
            CodeIdentity(plain, code="all")  # type: ignore[arg-type]

    def test_a_package_that_is_not_installed_is_named(self) -> None:
        with pytest.raises(InvalidOptionError, match="'no-such-package'"):
            CodeIdentity(plain, depends_on=("no-such-package",))

    def test_a_text_instead_of_names_is_refused(self) -> None:
        with pytest.raises(InvalidOptionError, match=r"depends_on=\('numpy',\)"):
            CodeIdentity(plain, depends_on="numpy")

    def test_the_versions_of_packages_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bare, before = CodeIdentity(plain).current(), CodeIdentity(plain, depends_on=("numpy",))
        monkeypatch.setattr("importlib.metadata.version", lambda name: "99.9")
        after = CodeIdentity(plain, depends_on=("numpy",))
        assert len({bare, before.current(), after.current()}) == 3
        assert [one.note for one in after.ingredients() if one.name == "numpy"] == ["version 99.9"]

    def test_the_versions_of_packages_count_beside_a_pinned_version(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = [CodeIdentity(plain, depends_on=("numpy",), code="off").current() for _ in range(2)]
        monkeypatch.setattr("importlib.metadata.version", lambda name: "99.9")
        after = CodeIdentity(plain, depends_on=("numpy",), code="off").current()
        assert before[0] == before[1] != after
        assert before[0].startswith("off~")

    def test_the_order_and_spelling_of_packages_do_not_matter(self) -> None:
        first = CodeIdentity(plain, depends_on=("numpy", "typing_extensions")).current()
        assert CodeIdentity(plain, depends_on=("Typing-Extensions", "numpy")).current() == first

    def test_a_package_may_be_called_as_it_is_imported(self) -> None:
        assert CodeIdentity(plain, depends_on=("dateutil",)).current() != CodeIdentity(plain).current()


class TestOwn:
    text = (
        "A = %d\ndef g(): return %d\ndef make(n):\n    def f(x=%d): return g() + A + x + n\n    return f\nf = make(%d)"
    )

    @pytest.mark.parametrize(
        ("values", "same"), [((2, 1, 1, 1), True), ((1, 2, 1, 1), True), ((1, 1, 2, 1), False), ((1, 1, 1, 2), False)]
    )
    def test_own_looks_at_the_function_its_defaults_and_its_closure(
        self, lab: Lab, values: tuple[int, ...], same: bool
    ) -> None:
        first = lab.fingerprint(self.text % (1, 1, 1, 1), code="own")
        assert (lab.fingerprint(self.text % values, code="own") == first) is same

    def test_own_sees_through_decorators(self, lab: Lab) -> None:
        text = "def d(g):\n    def w(): return g()\n    return w\n@d\ndef f(): return %d"
        assert lab.fingerprint(text % 1, code="own") != lab.fingerprint(text % 2, code="own")

    def test_own_and_deep_never_agree(self) -> None:
        assert CodeIdentity(plain, code="own").current() != CodeIdentity(plain).current()


class TestWhoseCode:
    def test_the_standard_library_and_packages_are_not_the_users(self) -> None:
        assert not is_own_module("json")
        assert not is_own_module("numpy.linalg")
        assert not is_own_module("dynmemo.keys.identity")
        assert not is_own_module("sys")

    def test_main_and_modules_outside_of_site_packages_are(self) -> None:
        assert is_own_module("__main__")
        assert is_own_module("__mp_main__")
        assert is_own_module(__name__)

    def test_files_are_told_apart_by_their_folder(self, tmp_path: Path) -> None:
        assert is_own_file(str(tmp_path / "script.py"))
        assert is_own_file("<stdin>")
        assert is_own_file("/tmp/ipykernel_77/1234.py")
        assert not is_own_file(functools.__file__)
        assert not is_own_file(np.__file__)
        assert not is_own_file(str(tmp_path / "lib" / "python3" / "dist-packages" / "x.py"))
        assert not is_own_file("<frozen importlib._bootstrap>")

    def test_code_in_site_packages_is_not_followed(
        self, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "site-packages"
        folder.mkdir()
        monkeypatch.syspath_prepend(str(folder))
        found = []
        for value in (1, 2):
            (folder / "labforeign.py").write_text(f"N = {value}\ndef g(): return N\nclass C:\n    n = {value}\n")
            sys.modules.pop("labforeign", None)
            found.append(
                lab.fingerprint(
                    "import labforeign\nfrom labforeign import g, C\ndef f(): return g(), C(), labforeign.N"
                )
            )
        assert found[0] == found[1]

    def test_what_a_packages_decorator_wraps_is_followed(
        self, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "site-packages"
        folder.mkdir()
        monkeypatch.syspath_prepend(str(folder))
        (folder / "labretry.py").write_text(
            "class Policy: pass\n"
            "def retry(times):\n    policy = Policy()\n    def d(g):\n        calls = 0\n        def w():\n"
            "            nonlocal calls\n            calls += 1\n            policy.calls = calls\n"
            "            return [g() for _ in range(times)]\n        return w\n    return d\n"
        )
        text = "from labretry import retry\n@retry(%d)\ndef g(): return %d\ndef f(): return g()"
        assert lab.fingerprint(text % (1, 1)) != lab.fingerprint(text % (1, 2))
        assert lab.fingerprint(text % (1, 1)) != lab.fingerprint(text % (2, 1))
        module = lab.module(text % (1, 1))
        identity = CodeIdentity(module.f)
        before = identity.current()
        assert changed_meanwhile(identity, module.f) == ""
        assert identity.current() == before

    def test_an_own_module_imported_in_the_function_is_followed_before_and_after(
        self, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = tmp_path / "labpkg"
        package.mkdir()
        (package / "__init__.py").touch()
        monkeypatch.syspath_prepend(str(tmp_path))
        for statement, use in (
            ("import labpkg.sub", "labpkg.sub.g()"),
            ("import labpkg.sub as s", "s.g()"),
            ("from labpkg import sub", "sub.g()"),
            ("from labpkg.sub import g as h", "h()"),
        ):
            found = []
            for value in (1, 2):
                (package / "sub.py").write_text(f"def g(): return {value}{'0' * value}\n")
                for name in ("labpkg", "labpkg.sub"):
                    sys.modules.pop(name, None)
                module = lab.module(f"def f():\n    {statement}\n    return {use}")
                identity = CodeIdentity(module.f)
                found.append(identity.current())
                module.f()
                assert identity.current() == found[-1]
            assert found[0] != found[1], statement

    def test_a_package_imported_in_the_function_counts_the_same_before_and_after(self, lab: Lab) -> None:
        sys.modules.pop("this", None)
        module = lab.module(
            "def f():\n    import colorsys, this\n    from wave import open\n    return colorsys, this, open"
        )
        sys.modules.pop("colorsys", None)
        before = CodeIdentity(module.f).current()
        __import__("colorsys")
        __import__("wave")
        assert CodeIdentity(module.f).current() == before

    def test_objects_that_answer_to_every_name_are_no_wrappers(self, lab: Lab) -> None:
        text = "from unittest.mock import call, MagicMock\nm = MagicMock()\ndef f(): return call, m"
        assert len(lab.fingerprint(text)) == 32

    def test_a_helper_in_whose_place_stands_a_double_can_be_taken_apart(self, lab: Lab) -> None:
        text = (
            "from unittest.mock import create_autospec\ndef helper(x): return x\nhelper = create_autospec(helper)\n"
            "def f(): return helper(1)"
        )
        assert len(lab.fingerprint(text)) == 32

    def test_a_relative_import_in_the_function_is_followed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = tmp_path / "labrel"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "a.py").write_text("def f():\n    from .b import g\n    return g()\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        found = []
        for value in (1, 22):
            (package / "b.py").write_text(f"def g(): return {value}\n")
            for name in ("labrel", "labrel.a", "labrel.b"):
                sys.modules.pop(name, None)
            import importlib

            importlib.invalidate_caches()
            found.append(CodeIdentity(importlib.import_module("labrel.a").f).current())
        assert found[0] != found[1]

    def test_a_dotted_name_in_an_own_package_is_followed(
        self, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = tmp_path / "labdot"
        package.mkdir()
        (package / "__init__.py").write_text("from labdot import sub\n")
        (package / "sub.py").write_text("N = 1\ndef g(): return N\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        module = lab.module("import labdot\ndef f(): return labdot.sub.g(), labdot.sub.N")
        identity = CodeIdentity(module.f)
        before = identity.current()
        sys.modules["labdot.sub"].N = 2  # type: ignore[attr-defined]
        assert identity.current() != before

    def test_what_a_module_makes_on_request_counts_by_its_maker(self, lab: Lab) -> None:
        found = []
        for value in (1, 2):
            lab.module(f"def __getattr__(name): return {value}", name="lablazy")
            found.append(lab.fingerprint("import lablazy\ndef f(): return lablazy.anything"))
        assert found[0] != found[1]

    def test_what_a_module_makes_on_request_is_asked_for_at_every_call(self, lab: Lab) -> None:
        lazy = lab.module(
            "VALUES = {'rate': 2}\ndef __getattr__(name): return globals()['VALUES'][name]", name="labasked"
        )
        identity = CodeIdentity(lab.module("import labasked\ndef f(): return labasked.rate").f)
        before = identity.current()
        lazy.VALUES = {"rate": 3}
        assert identity.current() != before
        lazy.VALUES = {"rate": 2}
        assert identity.current() == before

    def test_a_function_that_a_module_makes_anew_on_each_request_is_the_same(self, lab: Lab) -> None:
        lab.module("def __getattr__(name): return lambda x: x + 1", name="labanew")
        identity = CodeIdentity(lab.module("import labanew\ndef f(): return labanew.rate(1)").f)
        identity.current()
        watching = identity.watching()
        watching.begin()
        assert watching.end() == ""

    def test_a_bare_object_under_a_name_of_a_class_or_instance_counts_by_the_name(self, lab: Lab) -> None:
        text = """
            class C:
                MISSING = object()
                def __init__(self): self.nothing = object()
            INSTANCE = C()
            def f(): return C.MISSING is INSTANCE.nothing
            """
        assert lab.fingerprint(text) == lab.fingerprint(text)
        assert lab.fingerprint(text) != lab.fingerprint(text.replace("C.MISSING is", "C.MISSING is not"))


class TestCachedHelpers:
    text = "from dynmemo import dynamo_cached\n%s\ndef g(): return %d\ndef f(): return g()"

    def test_a_cached_helper_is_seen_through(self, lab: Lab) -> None:
        bare = lab.fingerprint(self.text % ("", 1))
        assert lab.fingerprint(self.text % ("@dynamo_cached", 1)) == bare
        assert lab.fingerprint(self.text % ("@dynamo_cached(ttl=60)", 1)) == bare
        assert lab.fingerprint(self.text % ("@dynamo_cached", 2)) != bare

    def test_a_pinned_helper_counts_by_its_version(self, lab: Lab) -> None:
        first = lab.fingerprint(self.text % ("@dynamo_cached(version=1)", 1))
        assert lab.fingerprint(self.text % ("@dynamo_cached(version=1)", 2)) == first
        assert lab.fingerprint(self.text % ("@dynamo_cached(version=2)", 1)) != first

    def test_a_cached_method_is_seen_through(self, lab: Lab) -> None:
        text = (
            "from dynmemo import dynamo_cached\nclass A:\n    @dynamo_cached\n    def m(self): return %d\n"
            "def f(): return A().m()"
        )
        assert lab.fingerprint(text % 1) != lab.fingerprint(text % 2)

    def test_a_cached_function_in_a_registry_counts_by_its_code(self, lab: Lab) -> None:
        text = self.text.replace("return g()", "return R['g']()") + "\nR = {'g': g}"
        assert lab.fingerprint(text % ("@dynamo_cached", 1)) != lab.fingerprint(text % ("@dynamo_cached", 2))
        assert lab.fingerprint(text % ("@dynamo_cached", 1)) == lab.fingerprint(text % ("@dynamo_cached", 1))

    def test_a_cached_function_as_an_argument_counts_by_its_code(self, lab: Lab) -> None:
        first, second = (lab.module(self.text % ("@dynamo_cached", n)).g for n in (1, 2))
        assert digest(first) != digest(second)
        assert digest(first) == digest(lab.module(self.text % ("@dynamo_cached", 1)).g)

    def test_a_cached_method_as_an_argument_counts_with_its_instance(self, lab: Lab) -> None:
        text = """
            from dynmemo import dynamo_cached
            class A:
                n = %d
                @dynamo_cached
                def m(self): return %d
            a = A()
            """
        found = {digest(lab.module(text % pair).a.m) for pair in ((1, 1), (1, 2), (2, 1), (1, 1))}
        assert len(found) == 3

    def test_a_counter_of_a_cached_method_in_its_class_is_state(self, lab: Lab) -> None:
        module = lab.module(
            "from dynmemo import dynamo_cached\nclass A:\n    n = 0\n"
            "    @dynamo_cached\n    def m(self): A.n += 1; return 1\n"
        )
        a = module.A()
        assert [a.m(), a.m(), module.A().m()] == [1, 1, 1]
        assert module.A.n == 1


class TestClasses:
    def test_a_class_that_overrides_what_a_method_calls_is_another(self, lab: Lab) -> None:
        module = lab.module(
            "class A:\n    def m(self): return self.n()\n    def n(self): return 1\n"
            "class B(A):\n    def n(self): return 2\n"
        )
        assert class_identity(module.A) != class_identity(module.B)

    def test_a_class_counts_with_its_code(self, lab: Lab) -> None:
        text = "def g(): return %d\nclass A:\n    def m(self): return g()"
        first, second = (class_identity(lab.module(text % n).A) for n in (1, 2))
        assert first != second
        assert class_identity(lab.module(text % 1).A) == first

    def test_a_class_of_a_package_counts_by_its_name(self) -> None:
        assert class_identity(dict) != class_identity(list)

    def test_third_party_fields_count(self, lab: Lab) -> None:
        for text, edits in (
            ("import attrs\n@attrs.define\nclass A:\n    x: int = %s\ndef f(): return A()", ("1", "2")),
            (
                "import attrs\n@attrs.define\nclass A:\n    x: int = attrs.field(%s)\ndef f(): return A()",
                ("init=True", "init=False"),
            ),
            (
                "import attrs\n@attrs.define\nclass A:\n    x: int = attrs.Factory(%s)\ndef f(): return A()",
                ("list", "dict"),
            ),
            ("import pydantic\nclass A(pydantic.BaseModel):\n    x: %s = 1\ndef f(): return A()", ("int", "float")),
            ("import pydantic\nclass A(pydantic.BaseModel):\n    x: int = %s\ndef f(): return A()", ("1", "2")),
            (
                "import pydantic\nclass A(pydantic.BaseModel):\n    def m(self): return %s\ndef f(): return A().m()",
                ("1", "2"),
            ),
            (
                """
                import pydantic
                class A(pydantic.BaseModel):
                    x: int = 1
                    @pydantic.field_validator('x')
                    def m(cls, v): return v + %s
                def f(): return A(x=1)
                """,
                ("1", "2"),
            ),
        ):
            first, second = (lab.fingerprint(text % edit) for edit in edits)
            assert first != second, text
            assert lab.fingerprint(text % edits[0]) == first, text


class TestArguments:
    """Functions and classes as (parts of) arguments."""

    def test_functions_count_by_their_code(self, lab: Lab) -> None:
        text = "def g(x): return x + %d\nf = [lambda x: g(x), g]"
        first, second = (lab.module(text % n).f for n in (1, 2))
        assert digest(first) != digest(second)
        assert digest(first) == digest(lab.module(text % 1).f)
        assert digest(first[0]) != digest(first[1])

    def test_closures_count_by_what_they_hold(self) -> None:
        def make(n: object) -> object:
            return lambda: n

        assert digest(make(1)) == digest(make(1)) != digest(make(2))
        assert digest(make(1)) != digest(make(1.0))

    def test_instances_count_with_the_code_of_their_class(self, lab: Lab) -> None:
        text = "class A:\n    def m(self): return %d\na = A()"
        assert digest(lab.module(text % 1).a) != digest(lab.module(text % 2).a)

    def test_remembered_functions_count_by_their_code(self, lab: Lab) -> None:
        text = "import functools\n@functools.lru_cache\ndef g(): return %d"
        assert digest(lab.module(text % 1).g) != digest(lab.module(text % 2).g)

    def test_functions_of_packages_count_by_their_name(self) -> None:
        assert digest(np.mean) != digest(np.median)
        assert digest(len) != digest(sum)
        assert digest(functools.partial(np.mean, axis=0)) != digest(functools.partial(np.mean, axis=1))

    def test_a_lambda_made_at_every_call_is_not_kept(self) -> None:
        import gc
        import weakref

        class Large:
            pass

        large = Large()
        gone = weakref.ref(large)
        digest((lambda held: lambda: held)(large))
        del large
        gc.collect()
        assert gone() is None


class TestSpeedAndThreads:
    @pytest.fixture
    def walks(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        found: list[str] = []
        original = Tracker.walked

        def counted(self: Tracker) -> Any:
            found.append(self._name)
            return original(self)

        monkeypatch.setattr(Tracker, "walked", counted)
        return found

    def test_nothing_is_walked_again_while_nothing_changes(self, lab: Lab, walks: list[str]) -> None:
        identity = CodeIdentity(
            lab.module("A, B = 1, [2]\nclass C:\n    x = [1]\nc = C()\ndef g(): return A, B, c\ndef f(): return g()").f
        )
        for _ in range(10):
            identity.current()
        assert walks == ["f"]

    def test_a_helper_defined_again_is_walked_once(self, lab: Lab, walks: list[str]) -> None:
        text = "def g(): return 1\ndef f(): return g()"
        module = lab.module(text)
        identity = CodeIdentity(module.f)
        before = identity.current()
        module.g = lab.module(text).g
        for _ in range(10):
            assert identity.current() == before
        assert walks == ["f", "f"]

    def test_an_equal_list_in_place_of_another_is_not_walked(self, lab: Lab, walks: list[str]) -> None:
        module = lab.module("A = [1, 2]\ndef f(): return A")
        identity = CodeIdentity(module.f)
        before = identity.current()
        module.A = [1, 2]
        assert identity.current() == before
        assert walks == ["f"]

    def test_a_large_frame_that_was_replaced_is_not_kept(self, lab: Lab) -> None:
        import gc
        import weakref

        module = lab.module("import numpy as np\nA = np.ones(3)\ndef f(): return A")
        identity = CodeIdentity(module.f)
        identity.current()
        gone = weakref.ref(module.A)
        module.A = None
        gc.collect()
        assert gone() is None

    def test_threads_agree_while_a_global_changes(self, lab: Lab) -> None:
        module = lab.module("A = 0\nB = []\ndef g(): return A, B\ndef f(): return g()")
        expected = set()
        for value in range(2):
            module.A = value
            expected.add(CodeIdentity(module.f).current())
        identity = CodeIdentity(module.f)
        stop = threading.Event()

        def change() -> None:
            while not stop.is_set():
                module.A = 1 - module.A

        changer = threading.Thread(target=change)
        changer.start()
        try:
            with ThreadPoolExecutor(4) as pool:
                found = set(pool.map(lambda _: identity.current(), range(400)))
        finally:
            stop.set()
            changer.join()
        assert found <= expected
        module.A = 1
        assert identity.current() == CodeIdentity(module.f).current()

    def test_a_large_global_is_told_once_with_what_to_do(self, lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
        module = lab.module(
            "import numpy as np\nLARGE, SMALL = np.ones(2_000_000), np.ones(10)\ndef f(): return LARGE, SMALL"
        )
        identity = CodeIdentity(module.f)
        with caplog.at_level(logging.WARNING, "dynmemo"):
            identity.current()
            module.LARGE[0] = 2
            identity.current()
            CodeIdentity(module.f).current()
        messages = [record.getMessage() for record in caplog.records]
        assert len(messages) == 1
        assert "`LARGE`" in messages[0]
        assert "16 MB" in messages[0]
        assert "as an argument" in messages[0]

    def test_a_large_text_costs_nothing_and_is_not_told(self, lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "dynmemo"):
            lab.fingerprint("TEXT = 'x' * 20_000_000\ndef f(): return TEXT")
        assert not caplog.records


class TestWithoutContent:
    @pytest.mark.parametrize(
        "made",
        [
            "import threading\nx = threading.Lock()",
            "import threading\nx = threading.Event()",
            "import logging\nx = logging.getLogger('a')",
            "import logging\nx = logging.LoggerAdapter(logging.getLogger('a'), {})",
            "import sqlite3\nx = sqlite3.connect(':memory:')\nx.close()",
            "import boto3\nx = boto3.client('s3', region_name='eu-west-1')",
            "import concurrent.futures\nx = concurrent.futures.ThreadPoolExecutor()",
            "import sys\nx = sys.stderr",
        ],
    )
    def test_a_global_without_content_counts_by_its_type_and_is_listed(self, lab: Lab, made: str) -> None:
        text = f"{made}\ndef f(): return x"
        assert lab.fingerprint(text) == lab.fingerprint(text)
        assert listed(lab.ingredients(text))["opaque"] == {"x"}

    @pytest.mark.parametrize("made", ["x = (i for i in ())", "x = iter([])", "import queue\nx = queue.Queue()"])
    def test_a_global_that_cannot_be_read_is_refused_with_its_path(self, lab: Lab, made: str) -> None:
        with pytest.raises(UnhashableArgumentError, match=r"f\(\): .*`f\.g\.x` is .*ignore_globals="):
            lab.fingerprint(f"{made}\ndef g(): return x\ndef f(): return g()")

    def test_of_a_module_passed_on_the_names_count_that_code_asks_for(self, lab: Lab) -> None:
        found = []
        for value in (1, 2):
            lab.module(f"N, M = {value}, 1", name="labmodule")
            text = "import labmodule\ndef g(module): return module.%s\ndef f(): return g(labmodule)"
            found.append((lab.fingerprint(text % "N"), lab.fingerprint(text % "M")))
        assert found[0][0] != found[1][0]
        assert found[0][1] == found[1][1]


def test_a_class_or_builtin_can_be_the_function() -> None:
    assert CodeIdentity(len).current() != CodeIdentity(sum).current()
    assert CodeIdentity(functools.partial(plain, 1)).current() != CodeIdentity(functools.partial(plain, 2)).current()
    assert CodeIdentity(functools.lru_cache(plain)).current() == CodeIdentity(plain).current()
