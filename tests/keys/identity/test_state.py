"""What the reached code changes by itself is its state; everything else that it names is an input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dynmemo.keys.identity import CodeIdentity
from tests.keys.identity.helpers import changed_meanwhile, listed, without_source
from tests.keys.identity.programs_state import INPUT, MEANWHILE, STATE

if TYPE_CHECKING:
    from tests.keys.identity.helpers import Lab


@pytest.mark.parametrize("case", STATE)
def test_what_the_code_changes_itself_is_left_out_and_listed(lab: Lab, case: str) -> None:
    text, name = STATE[case]
    module = lab.module(text)
    identity = CodeIdentity(module.f)
    before = identity.current()
    for _ in range(3):
        assert changed_meanwhile(identity, module.f) == ""
        assert identity.current() == before
    assert name in listed(identity.ingredients())["state"]


@pytest.mark.parametrize("case", INPUT)
def test_what_others_change_counts_as_it_is_at_the_call(lab: Lab, case: str) -> None:
    module = lab.module(INPUT[case])
    identity = CodeIdentity(module.f)
    before = identity.current()
    assert identity.current() == before
    module.edit()
    after = identity.current()
    assert after != before
    assert identity.current() == after
    assert CodeIdentity(module.f).current() == after


@pytest.mark.parametrize("case", MEANWHILE)
def test_what_others_change_meanwhile_is_not_forgiven(lab: Lab, case: str) -> None:
    text, name = MEANWHILE[case]
    module = lab.module(text)
    identity = CodeIdentity(module.f)
    before = identity.current()
    told = changed_meanwhile(identity, module.edit)
    assert told == f"`{name}` was changed while it computed, and not by its own code"
    assert identity.current() != before


# What the bytecode tells as well as the tree does.
_BY_BYTECODE = [case for case in STATE if case not in {"another name for it", "append to a list of lists"}]


@pytest.mark.parametrize("case", _BY_BYTECODE)
def test_state_is_found_without_source_too(case: str) -> None:
    text, name = STATE[case]
    names = without_source(text)
    identity = CodeIdentity(names["f"])
    before = identity.current()
    for _ in range(3):
        assert changed_meanwhile(identity, names["f"]) == ""
        assert identity.current() == before
    found = listed(identity.ingredients())["state"]
    assert name.rpartition(".")[2] in {one.rpartition(".")[2] for one in found}


@pytest.mark.parametrize("case", INPUT)
def test_inputs_count_without_source_too(case: str) -> None:
    names = without_source(INPUT[case])
    identity = CodeIdentity(names["f"])
    before = identity.current()
    assert identity.current() == before
    names["edit"]()
    assert identity.current() != before


def test_a_registry_that_holds_the_function_itself_ends(lab: Lab) -> None:
    text = """
        R = {}
        def f(n): return R["g"](n - 1) if n else 0
        def g(n): return R["f"](n - 1) if n else %d
        R["f"], R["g"] = f, g
        """
    first, second = lab.fingerprint(text % 1), lab.fingerprint(text % 2)
    assert first != second
    assert lab.fingerprint(text % 1) == first


def test_many_objects_that_use_each_other_are_walked_once(lab: Lab) -> None:
    classes = "\n".join(
        f"class C{i}:\n    def m(self): return [{', '.join(f'c{j}.m' for j in range(20))}]\n    def n(self): return {i}"
        for i in range(20)
    )
    text = classes + "".join(f"\nc{i} = C{i}()" for i in range(20)) + "\ndef f(): return c0.m()\n"
    assert lab.fingerprint(text) == lab.fingerprint(text)
    assert lab.fingerprint(text) != lab.fingerprint(text.replace("return 19", "return 20"))


def test_data_that_contains_itself_ends(lab: Lab) -> None:
    text = "import threading\nc = [threading.Lock(), %d]\nc.append(c)\ndef f(): return c"
    assert lab.fingerprint(text % 1) == lab.fingerprint(text % 1)
    assert lab.fingerprint(text % 1) != lab.fingerprint(text % 2)


def test_what_a_cached_property_remembers_is_no_input(lab: Lab) -> None:
    module = lab.module("""
        import functools
        class M:
            def __init__(self): self.w = 1
            @functools.cached_property
            def total(self): return self.w + 1
        m = M()
        def f(): return m.total
        """)
    identity = CodeIdentity(module.f)
    before = identity.current()
    module.f()
    assert identity.current() == before
    module.m.w = 2
    assert identity.current() != before
