"""Where source comes from: files, edited files, the prompt, ``-c``, cells; and functions that cloudpickle brought."""

from __future__ import annotations

import json
import linecache
import os
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import pytest

from dynmemo.keys.identity import CodeIdentity
from tests.keys.identity.helpers import listed, without_source
from tests.pythons import printed

if TYPE_CHECKING:
    from tests.keys.identity.helpers import Lab

ROOT = Path(__file__).parents[3]
SHOW = """
import json
from dynmemo.keys.identity import CodeIdentity
identity = CodeIdentity(f)
print(json.dumps([identity.current(), identity.ingredients()[0].note]))
"""


def _python(*arguments: str, stdin: str = "") -> Any:
    return json.loads(printed("-W", "ignore", *arguments, stdin=stdin))


def _script(folder: Path, text: str) -> Any:
    path = folder / "script.py"
    path.write_text(textwrap.dedent(text) + SHOW)
    return _python(str(path))


def test_a_script_that_is_edited_between_runs(tmp_path: Path) -> None:
    first, note = _script(tmp_path, "def g(): return 1\ndef f(): return g()")
    assert note == ""
    commented, _ = _script(tmp_path, "# new\ndef g():\n    return 1\n\ndef f() -> int: return g()")
    edited, _ = _script(tmp_path, "def g(): return 2\ndef f(): return g()")
    assert commented == first
    assert edited != first


def test_a_script_and_a_module_agree(tmp_path: Path, lab: Lab) -> None:
    text = "A = [1]\nclass C:\n    def m(self): return A\ndef g(): return C().m()\ndef f(): return g()"
    assert _script(tmp_path, text)[0] == lab.fingerprint(text)


def test_a_module_run_by_its_name_agrees(tmp_path: Path, lab: Lab) -> None:
    text = "def g(): return 1\ndef f(): return g()"
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").touch()
    (tmp_path / "pkg" / "mod.py").write_text(text + SHOW)
    found = json.loads(printed("-W", "ignore", "-m", "pkg.mod", folder=tmp_path))
    assert found[0] == lab.fingerprint(text)


def test_code_given_on_the_command_line_has_no_source_and_says_so() -> None:
    first, note = _python("-c", "def f(): return 1" + SHOW)
    assert _python("-c", "def f(): return 2" + SHOW)[0] != first
    assert _python("-c", "\n\n# moved\ndef f(): return 1" + SHOW) == [first, note]
    if sys.version_info < (3, 13):  # which keeps the text
        assert "bytecode" in note


def test_code_from_standard_input_has_no_source_and_says_so() -> None:
    first, note = _python("-", stdin="def f(): return 1" + SHOW)
    assert "bytecode" in note
    assert _python("-", stdin="def f(): return 2" + SHOW)[0] != first


def test_bytecode_tells_functions_apart_as_source_does() -> None:
    texts = ["def f(x): return x + 1", "def f(x): return x + 2", "def f(x): return x + 1.0", "f = lambda x: x - 1"]
    assert len({CodeIdentity(without_source(text)["f"]).current() for text in texts}) == len(texts)


def test_lambdas_on_one_line_are_told_apart_by_bytecode_too() -> None:
    functions = without_source("fs = [lambda x: x + 1, lambda x: x + 2]")["fs"]
    assert CodeIdentity(functions[0]).current() != CodeIdentity(functions[1]).current()


def test_a_file_edited_after_the_import_does_not_speak_for_the_code_in_memory(lab: Lab) -> None:
    module = lab.module("def f():\n    return 1\n")
    path = Path(module.__file__)
    path.write_text("def f():\n    return 2\n")
    linecache.clearcache()
    old = CodeIdentity(module.f)
    assert "bytecode" in old.ingredients()[0].note
    assert old.current() != lab.fingerprint("def f():\n    return 2\n")


def test_a_function_that_only_moved_in_its_file_after_the_import_keeps_its_source(lab: Lab) -> None:
    text = "def g(): return 2\ndef f(): return g()\n"
    module = lab.module(text)
    Path(module.__file__).write_text("import os\n\n\n\n" + text)
    linecache.clearcache()
    identity = CodeIdentity(module.f)
    assert identity.ingredients()[0].note == ""
    assert identity.current() == lab.fingerprint(text)


def test_a_deleted_file_leaves_the_bytecode(lab: Lab) -> None:
    module = lab.module("def f():\n    return 1\n")
    Path(module.__file__).unlink()
    linecache.clearcache()
    assert "bytecode" in CodeIdentity(module.f).ingredients()[0].note


def test_of_two_functions_of_a_name_the_one_at_hand_counts(lab: Lab) -> None:
    text = "import sys\nif %s:\n    def f(): return 1\nelse:\n    def f(): return 2\n"
    assert lab.fingerprint(text % "True") == lab.fingerprint("def f(): return 1")
    assert lab.fingerprint(text % "False") == lab.fingerprint("def f(): return 2")


def test_calls_of_imported_modules_have_their_source_found(lab: Lab) -> None:
    text = "try:\n    import json\nexcept ImportError:\n    pass\ndef f(x): return json.loads(x)\n"
    assert CodeIdentity(lab.module(text).f).ingredients()[0].note == ""


def test_statements_compiled_one_by_one_have_their_source_found() -> None:
    # As IPython does with a cell.
    text = "import json\ndef f(x): return json.loads(x)\nfs = [lambda x: json.dumps(x), lambda x: json.dump(x)]\n"
    name = "<cell of this test>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    import ast

    names: dict[str, Any] = {"__name__": "__main__"}
    for statement in ast.parse(text).body:
        exec(compile(ast.Module([statement], []), name, "exec"), names)
    for function in (names["f"], *names["fs"]):
        assert CodeIdentity(function).ingredients()[0].note == ""


MARIMO = """
import marimo

app = marimo.App()


@app.cell
def _():
    import math

    RATE = 2
    return RATE, math


@app.cell(hide_code=True)
def _(RATE, math):
    def g(x):
        return math.floor(x) * RATE

    return (g,)


@app.cell
def _(g):
    import statistics

    def f(x):
        return statistics.mean([g(x), x])

    return (f,)
"""


def test_a_marimo_notebook_run_as_a_script_agrees_with_its_cells(tmp_path: Path, lab: Lab) -> None:
    # As marimo does it: each body is a module of its own, under the name and with the lines of the file.
    (tmp_path / "book.py").write_text(MARIMO)
    run = """
    import ast
    from pathlib import Path
    path = Path(__file__).with_name("book.py")
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            exec(compile(ast.Module(node.body[:-1], []), str(path), "exec"))
    """
    cells = "import math\nRATE = 2\ndef g(x):\n    return math.floor(x) * RATE\nimport statistics\n"
    found, note = _script(tmp_path, run)
    assert note == ""
    assert found == lab.fingerprint(cells + "def f(x):\n    return statistics.mean([g(x), x])")


def test_futures_of_the_module_do_not_hide_its_source(lab: Lab) -> None:
    text = "from __future__ import annotations\ndef f():\n    def g(x: int) -> int: return x\n    return g\n"
    assert CodeIdentity(lab.module(text).f).ingredients()[0].note == ""


def test_a_very_deep_expression_is_no_obstacle(lab: Lab) -> None:
    text = f"def f(x): return {' + '.join(['x'] * 900)}\n"
    assert lab.fingerprint(text) != lab.fingerprint(text + "def f(x): return x\n")


def test_what_cloudpickle_sends_by_value_has_the_same_fingerprint_there(tmp_path: Path) -> None:
    script = """
        import sys, json, pickle, cloudpickle, threading
        SCALE, SEEN, LOCK, TABLE = 2, [], threading, {"a": [1, 2]}
        class Base:
            def m(self): return SCALE
        class Model(Base):
            rate = 3
            def __init__(self): self.w = [1]
            def predict(self, x): return self.m() * x
        model = Model()
        def helper(x): "Doc."; return [i * SCALE for i in x]
        def make(n): return lambda x: x + n
        pair = [lambda x: x + 1, lambda x: x + 2]
        add = make(5)
        def f(x, y=1): # sent
            SEEN.append(x)
            return helper([x]), TABLE, model.predict(x), add(x), pair[1](x), f.__name__
        from dynmemo.keys.identity import CodeIdentity
        identity = CodeIdentity(f)
        with open(sys.argv[1], "wb") as file:
            pickle.dump((identity.current(), identity.portable(), cloudpickle.dumps(f)), file)
        """
    receiver = """
import sys, json, pickle
from dynmemo.keys.identity import CodeIdentity
with open(sys.argv[1], "rb") as file:
    expected, portable, sent = pickle.load(file)
CodeIdentity.install(portable)
f = pickle.loads(sent)
identity = CodeIdentity(f)
print(json.dumps([expected, identity.current(), identity.ingredients()[0].note, len(portable)]))
"""
    path = tmp_path / "sender.py"
    path.write_text(textwrap.dedent(script))
    printed(str(path), str(tmp_path / "sent"))
    path.unlink()
    expected, found, note, count = _python("-c", receiver, str(tmp_path / "sent"))
    assert (found, note) == (expected, "")
    assert count == 8


def test_portable_facts_are_plain_data(lab: Lab) -> None:
    identity = CodeIdentity(lab.module("def g(): return 1\ndef f(): return g()").f)
    assert _is_plain(identity.portable())
    assert CodeIdentity(print, version=1).portable() == {}


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return type(value) in {str, bool, int, type(None)}


def test_a_copy_by_cloudpickle_in_this_process_has_the_same_fingerprint(lab: Lab) -> None:
    module = lab.module("N = 2\ndef g(x): return x * N\ndef f(x): return g(x)")
    cloudpickle.register_pickle_by_value(module)
    try:
        copy = cloudpickle.loads(cloudpickle.dumps(module.f))
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    assert copy is not module.f
    assert CodeIdentity(copy).current() == CodeIdentity(module.f).current()


def test_a_spawned_process_agrees(tmp_path: Path) -> None:
    script = """
        import json, multiprocessing
        from dynmemo.keys.identity import CodeIdentity
        class C:
            def m(self): return 1
        c = C()
        def f(): return c.m()
        def show(_): return CodeIdentity(f).current()
        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(json.dumps([show(0), pool.map(show, [0])[0]]))
        """
    path = tmp_path / "spawn.py"
    path.write_text(textwrap.dedent(script))
    here, there = _python(str(path))
    assert here == there


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_process_agrees(lab: Lab) -> None:
    identity = CodeIdentity(lab.module("def g(): return 1\ndef f(): return g()").f)
    expected = identity.current()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, identity.current().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100).decode() == expected


def test_ingredients_name_everything_as_the_user_would(lab: Lab) -> None:
    found = listed(
        lab.ingredients("""
            import logging, threading, numpy as np, json
            SCALE, TABLE, SEEN = 2, {"a": 1}, []
            log, lock = logging.getLogger("x"), threading.Lock()
            class Model:
                rate = 3
                def predict(self): return smooth(self.rate)
            model = Model()
            def smooth(x, window=3): return np.mean([x * SCALE, window])
            def make(n):
                def inner(x): return x + n
                return inner
            add = make(5)
            def f(x, y=1):
                SEEN.append(x); log.info(json.dumps(x))
                with lock:
                    return smooth(x), TABLE, model.predict(), add(x)
            """)
    )
    assert found["function"] == {"f", "smooth", "Model.predict", "inner"}
    assert found["class"] == {"Model"}
    assert found["global"] == {"SCALE", "SEEN", "TABLE", "Model.rate"}
    assert found["default"] == {"y", "smooth.window"}
    assert found["closure"] == {"inner.n"}
    assert found["opaque"] == {"log", "lock"}
    assert found["package"] == {"numpy"}


def test_ingredients_of_another_module_carry_its_name(lab: Lab) -> None:
    lab.module("RATE = 1\ndef helper(): return RATE\n", name="labother")
    found = listed(
        lab.ingredients("import labother\nfrom labother import helper as h\ndef f(): return labother.RATE, h()")
    )
    assert found["global"] == {"labother.RATE"}
    assert found["function"] == {"f", "labother.helper"}


def test_an_edited_helper_changes_its_own_digest_and_no_other(lab: Lab) -> None:
    text = "def g(): return %d\ndef h(): return g()\ndef f(): return h()"
    first, second = lab.ingredients(text % 1), lab.ingredients(text % 2)
    assert [one.name for one, other in zip(first, second, strict=True) if one != other] == ["g"]


CELLS = [
    "def dup(a, a): return a",
    "await later(lambda x: x)",
    "def scaled(x):\n    return 3 * x",
    "def star():\n    from os import *",
]


def test_code_that_came_by_value_is_found_among_cells_of_which_some_do_not_compile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number, cell in enumerate(CELLS):
        monkeypatch.setitem(linecache.cache, f"<cell {number}>", (len(cell), None, cell.splitlines(True), "cell"))
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in ("def scaled(x):\n    return 3 * x", "shifted = lambda y: y + 7"):
        exec(compile(cell, "<dynamic-code>", "exec"), names)
    assert CodeIdentity(names["scaled"]).ingredients()[0].note == ""
    assert "bytecode" in CodeIdentity(names["shifted"]).ingredients()[0].note
