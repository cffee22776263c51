"""What is said of a function whose results cannot be found again, or depend on more than its key; and what is not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo import InvalidOptionError, UnhashableArgumentError
from dynmemo.keys.identity import RESTLESS, CodeIdentity
from dynmemo.keys.snapshots import class_code
from tests.keys.identity.helpers import Lab, changed_meanwhile
from tests.pythons import printed

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "dynmemo")
    return caplog


class TestThatItNeverHits:
    @pytest.mark.parametrize(
        ("helper", "uses", "changes", "named"),
        [
            ("N = 0", "labnever.N", "N += 1", "labnever.N"),
            ("N = []", "labnever.N", "N.append(1)", "labnever.N"),
            ("class C: pass\nc = C()\nc.n = 0", "labnever.c.n", "c.n += 1", "labnever.c"),
        ],
    )
    def test_a_global_that_others_change_all_the_time_is_named_once(
        self, lab: Lab, said: pytest.LogCaptureFixture, helper: str, uses: str, changes: str, named: str
    ) -> None:
        other = lab.module(f"{helper}\ndef note():\n    global N\n    {changes}", name="labnever")
        name = f"never{len(changes)}"
        identity = CodeIdentity(getattr(lab.module(f"import labnever\ndef {name}(): return {uses}"), name))
        seen = set()
        for _ in range(RESTLESS + 5):
            seen.add(identity.current())
            other.note()
        assert len(seen) == RESTLESS + 5
        assert len(said.records) == 1
        assert f"{name}(): `" in said.text
        assert f"ignore_globals=('{named}',)" in said.text

    def test_a_global_of_its_own_module_is_named_alone_and_can_be_ignored(
        self, lab: Lab, said: pytest.LogCaptureFixture
    ) -> None:
        module = lab.module("COUNTS = {}\ndef note(): COUNTS[len(COUNTS)] = 1\ndef counted(): return len(COUNTS)")
        identity, ignoring = CodeIdentity(module.counted), CodeIdentity(module.counted, ignore_globals=("COUNTS",))
        before = ignoring.current()
        for _ in range(RESTLESS + 1):
            identity.current()
            module.note()
        assert "ignore_globals=('COUNTS',)" in said.text
        assert ignoring.current() == before
        notes = {one.name: one.note for one in ignoring.ingredients()}
        assert notes["COUNTS"] == "left out by ignore_globals="

    def test_nothing_is_said_of_a_function_that_has_hit(self, lab: Lab, said: pytest.LogCaptureFixture) -> None:
        module = lab.module("N = 0\ndef mostly(): return N")
        identity = CodeIdentity(module.mostly, has_hit=lambda: True)
        for _ in range(RESTLESS * 2):
            identity.current()
            module.N += 1
        assert not said.records

    def test_nothing_is_said_where_its_own_computations_change_it(
        self, lab: Lab, said: pytest.LogCaptureFixture
    ) -> None:
        module = lab.module("N = 0\ndef quiet():\n    global N\n    N += 1")
        identity = CodeIdentity(module.quiet)
        for _ in range(RESTLESS * 2):
            identity.current()
            assert changed_meanwhile(identity, module.quiet) == ""
        assert not said.records
        notes = {one.name: one.note for one in identity.ingredients()}
        assert notes["N"] == "changed by the code itself, so it counts as it was before"

    def test_nothing_is_said_where_two_globals_are_changed_now_and_then(
        self, lab: Lab, said: pytest.LogCaptureFixture
    ) -> None:
        module = lab.module("A = B = 0\ndef calm(): return A, B")
        identity = CodeIdentity(module.calm)
        for number in range(RESTLESS * 2):
            identity.current()
            setattr(module, "AB"[number // 10 % 2], number)
        assert not said.records


def test_of_a_connection_it_is_said_once_that_only_its_settings_count(
    lab: Lab, said: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    path = (tmp_path / "data.db").as_posix()
    module = lab.module(f"import sqlite3\nDB = sqlite3.connect({path!r})\ndef rows(): return DB")
    identity = CodeIdentity(module.rows)
    identity.current()
    module.rows.__defaults__ = ()
    CodeIdentity(module.rows).current()
    module.DB.close()
    assert len(said.records) == 1
    assert "rows(): `DB` is a live connection: only its name and what can be read of its settings count" in said.text
    notes = {one.name: one.note for one in identity.ingredients()}
    assert notes["DB"] == "Connection: only its name and what can be read of its settings count"


class TestRoots:
    def test_an_object_without_content_is_refused_at_decoration(self, lab: Lab) -> None:
        text = (
            "class Reader:\n    def __init__(self): self.rows = iter([])\n    def __call__(self): pass\nread = Reader()"
        )
        with pytest.raises(UnhashableArgumentError, match=r"Reader\(\): what it reaches as `.*rows` is an iterator"):
            CodeIdentity(lab.module(text).read)
        assert CodeIdentity(lab.module(text).read, version=1).current() == "v1"

    def test_what_it_reaches_by_globals_may_be_defined_later(self, lab: Lab) -> None:
        module = lab.module(
            "rows = iter([])\nclass Reader:\n    def __call__(self): return rows, later\nread = Reader()\n"
            "def plain(): return rows, later"
        )
        for root in (module.read, module.plain):
            identity = CodeIdentity(root)
            with pytest.raises(UnhashableArgumentError, match="rows` is an iterator"):
                identity.current()
        module.rows, module.later = [], 1
        assert CodeIdentity(module.read).current() != CodeIdentity(module.plain).current()

    def test_an_unknown_global_to_ignore_is_refused_at_decoration(self, lab: Lab) -> None:
        with pytest.raises(InvalidOptionError, match="ignore_globals= names 'M'"):
            CodeIdentity(lab.module("N = 1\ndef f(): return N").f, ignore_globals=("M",))


COPIES = {
    "a counter by the type": "class C:\n    n = 0\n    def __init__(self): type(self).n += 1\ndef use(): C()",
    "an object that the class keeps": (
        "class C:\n    one = None\n    def __new__(cls):\n        if cls.one is None: cls.one = super().__new__(cls)\n"
        "        return cls.one\ndef use(): C()"
    ),
    "a registry of subclasses": (
        "class C:\n    known = {}\n    def __init_subclass__(cls): cls.known[cls.__name__] = cls\n"
        "def use(): type('D', (C,), {})"
    ),
    "a protocol": (
        "from typing import Protocol, runtime_checkable\n@runtime_checkable\nclass P(Protocol):\n    x: int\n"
        "class C(P):\n    x = 1\ndef use(): return isinstance(C(), P)"
    ),
    "a protocol with a constructor": (
        "from typing import Protocol\nclass B:\n    def __init__(self): self.x = 1\nclass P(Protocol):\n    x: int\n"
        "class C(P, B): pass\ndef use(): return C()"
    ),
}


@pytest.mark.parametrize("case", COPIES)
def test_a_class_that_was_used_is_known_to_be_the_same_by_its_code(lab: Lab, case: str) -> None:
    module: Any = lab.module(COPIES[case])
    before = class_code(module.C)
    module.use()
    assert class_code(module.C) == before
    edited = lab.module(COPIES[case].replace("class C", "class C0").replace("C0", "C", 1) + "\nC.added = 1")
    assert class_code(edited.C) != before


def test_an_expression_of_sympy_counts_the_same_in_every_process(tmp_path: Path) -> None:
    pytest.importorskip("sympy")
    (tmp_path / "formula.py").write_text(
        "import sympy\nfrom dynmemo.keys.identity import CodeIdentity\nx = sympy.Symbol('x')\nE = x ** 2 + 1\n"
        "E.is_positive\ndef f(v): return E.subs(x, v)\nif __name__ == '__main__': print(CodeIdentity(f).current())\n"
    )
    keys = {printed("-W", "ignore", str(tmp_path / "formula.py"), PYTHONHASHSEED=seed) for seed in ("0", "1", "2", "3")}
    assert len(keys) == 1


def test_compiled_functions_of_packages_are_not_read_at_every_call() -> None:
    import numpy as np

    def noisy(x: float) -> float:
        return float(np.sqrt(x) + np.random.default_rng(1).normal())

    identity = CodeIdentity(noisy)
    identity.current()
    assert identity._tracker.known is not None
    assert identity._tracker.known.watch.lives == {}
