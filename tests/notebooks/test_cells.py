"""Cached cells in real kernels: computed once by all of them, and done again as they were done."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo import Cache
from dynmemo.testing.together import until
from tests.notebooks.kernels import kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.notebooks.kernels import Kernel

pytestmark = pytest.mark.slow

SETUP = "%load_ext dynmemo\nimport pandas as pd\ndf = pd.DataFrame({'x': [1, 2]})"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cells")


@pytest.fixture(scope="module")
def url(folder: Path) -> str:
    return f"sqlite:///{(folder / 'cache.db').as_posix()}"


def started(folder: Path, **variables: str) -> Iterator[Kernel]:
    with kernel(folder, **variables) as running:
        running.run(SETUP)
        yield running


@pytest.fixture(scope="module")
def first(folder: Path, url: str) -> Iterator[Kernel]:
    yield from started(folder, DYNMEMO_URL=url, WHO="first", PYTHONHASHSEED="1")


@pytest.fixture(scope="module")
def second(folder: Path, url: str) -> Iterator[Kernel]:
    yield from started(folder, DYNMEMO_URL=url, WHO="second", PYTHONHASHSEED="2")


def shown(running: Kernel, line: str, body: str) -> list[Any]:
    """Run a cached cell; what it showed."""
    return running.outputs(f"%%dynamo_cached --show-hit {line}\n{textwrap.dedent(body).strip()}")


def said(outputs: list[Any], name: str = "stderr") -> str:
    return "".join(output.text for output in outputs if output.get("name") == name)


def hits(running: Kernel, line: str, body: str) -> bool:
    """Run a cached cell; whether it was found, which `--show-hit` says."""
    last = said(shown(running, line, body), "stdout").splitlines()[-1:]
    return bool(last) and last[0].startswith("computed 20") and last[0].endswith(" saved")


# -- doing again ---------------------------------------------------------------------------------------------------

EVERYTHING = """
import math, sys
import matplotlib.pyplot as plt
print("one", flush=True)
print("two", file=sys.stderr, flush=True)
print("three", flush=True)
def doubled(x):
    return 2 * x
class Model:
    def __init__(self, k):
        self.k = k
for percent in range(0, 101, 50):
    print(f"\\r{percent}%", end="", flush=True)
print()
display(df)
plt.plot([1, 2])
plt.show()
model = Model(doubled(int(df['x'].sum())))
table = df.describe()
plt.plot([2, 1])
table
"""


def described(outputs: list[Any]) -> list[tuple[str, str]]:
    """What is shown, in its order."""
    return [
        (output.get("name") or output.output_type, output.get("text") or str(sorted(output.data.items())))
        for output in outputs
    ]


def test_a_hit_shows_everything_in_the_order_in_which_it_came(first: Kernel, second: Kernel) -> None:
    computed = described(shown(first, "model table", EVERYTHING))
    again = described(shown(second, "model table", EVERYTHING))
    kinds = ["stdout", "stderr", "stdout", "display_data", "display_data", "execute_result", "display_data"]
    assert [kind for kind, _ in computed] == kinds
    assert again[:2] == computed[:2] == [("stdout", "one\n"), ("stderr", "two\n")]
    assert computed[2] == ("stdout", "three\n\r0%\r50%\r100%\n")
    assert again[2] == ("stdout", "three\n100%\n")
    assert again[3:-1] == computed[3:], "frames, plots and the value are those that were shown"
    assert again[-1][1].startswith("computed 20")


def test_a_hit_binds_the_names_and_runs_the_imports_functions_and_classes(first: Kernel, second: Kernel) -> None:
    for running in (first, second):
        shown(running, "model table", EVERYTHING)
        asked = (
            "(model.k, type(model) is Model, doubled(4), math.floor(2.5), _.equals(table), list(Out.values())[-1] is _)"
        )
        assert running.run(f"print({asked})") == "(6, True, 8, 2, True, True)\n"


def test_a_last_expression_that_cannot_be_stored_is_shown_all_the_same(first: Kernel) -> None:
    body = "plotted = 1\nimport threading\nthreading.Lock()"
    shown(first, "plotted", body)
    *_, result, line = shown(first, "plotted", body)
    assert "lock" in result.data["text/plain"]
    assert line.text.startswith("computed 20")


def test_an_expression_before_a_semicolon_is_not_shown(first: Kernel) -> None:
    assert shown(first, "quiet", "quiet = 1\nquiet;") == []
    assert len(shown(first, "quiet", "quiet = 1\nquiet")) == 1
    assert len(shown(first, "quiet", "quiet = 1\nquiet;")) == 1  # the line that tells of the hit


def test_what_functions_and_classes_need_of_the_rest_of_the_cell_is_bound_as_well(
    first: Kernel, second: Kernel
) -> None:
    body = """
        limit, extra = 3, 1
        def limited(x, most=limit):
            return min(x, most) + extra
        try:
            import json as js
        except ImportError:
            js = None
        def once(x):
            return x
        once = [once, limit]
        def count():
            global counted_here
            counted_here = 8
        count()
        result = limited(5)
    """
    for running in (first, second):
        running.run("limit = extra = once = counted_here = 7")
    assert not hits(first, "result", body)
    assert hits(second, "result", body)
    for running in (first, second):
        asked = "result, limited(7), limited(1), once[1], js.dumps(1), counted_here"
        assert running.run(f"print({asked})") == "4 4 2 3 1 8\n"


def test_definitions_that_fail_without_the_rest_of_the_cell_let_it_run(first: Kernel) -> None:
    body = "for part in (1, 2):\n    del part\nready.append(1)\n@check\ndef made(): pass\nresult = made"
    first.run("ready = []\ndef check(function):\n    ready[0]\n    return len(ready)")
    for _ in range(2):
        first.run("ready.clear()")
        assert not hits(first, "result", body)
        assert first.run("print(result)") == "1\n"


@pytest.mark.parametrize(
    "body",
    [
        "value = 1\ndef of(x=value):\n    return x\nvalue = 2",
        "def of(x=value):\n    return x\nvalue = value + 1",
        "value = 1\ndef read():\n    return value\nclass A:\n    k = read()\ndef of():\n    return A.k\nvalue = 2",
    ],
)
def test_a_definition_that_needs_what_is_bound_again_behind_it_is_not_stored(first: Kernel, body: str) -> None:
    for _ in range(2):
        first.run("value = 1")
        assert "as it was where they stand" in said(shown(first, "value", body))
        assert first.run("print(of(), value)") == "1 2\n"


# -- what counts ---------------------------------------------------------------------------------------------------


def test_equal_cells_share_whatever_their_form(first: Kernel, second: Kernel) -> None:
    assert not hits(first, "a b", "a = 1\nb = a + len(df)")
    assert hits(first, "b a", "# a comment\na = 1\n\nb = (a +\n     len(df))")
    assert hits(second, "a b", "%matplotlib inline\na=1\nb = a+len(df)")
    assert not hits(second, "b", "a = 1\nb = a + len(df)"), "it binds other names"


def test_an_edited_helper_or_another_input_is_another_cell(first: Kernel) -> None:
    body = "rated = scaled(int(df['x'].sum())) * RATE"
    first.run("RATE = 2\nfactor = lambda: 10\ndef scaled(x):\n    return x * factor()")
    assert not hits(first, "rated", body)
    assert hits(first, "rated", body)
    for edit in ("RATE = 3", "factor = lambda: 100", "df.loc[0, 'x'] = 5", "def scaled(x):\n    return x"):
        first.run(edit)
        assert not hits(first, "rated", body), edit
        assert hits(first, "rated", body), edit
    assert first.run("print(rated)") == "21\n"
    first.run("RATE = 2\nfactor = lambda: 10\ndf.loc[0, 'x'] = 1\ndef scaled(x):\n    return x * factor()")
    assert hits(first, "rated", body)
    assert first.run("print(rated)") == "60\n"


def test_what_a_cell_binds_itself_is_no_input(first: Kernel) -> None:
    body = """
        total = 0
        def add(x):
            global total
            total += x
        for n in range(4):
            add(n)
        squares = [n * n for n in range(total)]
    """
    assert not hits(first, "total squares", body)
    assert hits(first, "total squares", body)
    assert first.run("print(total, squares)") == "6 [0, 1, 4, 9, 16, 25]\n"


def test_a_name_that_is_read_and_bound_anew_is_an_input_and_a_result(first: Kernel) -> None:
    first.run("level = 1")
    assert not hits(first, "other", "level = level + 1\nother = level")
    assert first.run("print(level)") == "2\n"
    assert not hits(first, "other", "level = level + 1\nother = level"), "it is another input now"
    first.run("level = 1")
    assert hits(first, "other", "level = level + 1\nother = level")
    assert first.run("print(level, other)") == "2 2\n"


def test_a_constant_at_the_end_counts_as_it_is_shown(first: Kernel) -> None:
    for text in ("'one'", "'two'", "1", "1.0", "True"):
        assert not hits(first, "ended", f"ended = 1\n{text}")
        assert shown(first, "ended", f"ended = 1\n{text}")[0].data["text/plain"] == text


def test_functions_and_arrays_that_lose_nothing_are_stored(first: Kernel, second: Kernel) -> None:
    body = """
        import numpy as np
        from math import floor
        turned = lambda x: np.array(floor(x))
        a = np.eye(2)
        b = a
        c = a.copy()
    """
    for running, found in ((first, False), (second, True)):
        assert hits(running, "turned a b c", body) is found
        assert running.run("print(turned(0.5), b is a)") == "0 True\n"


def test_what_a_class_reads_where_it_stands_is_an_input(first: Kernel) -> None:
    body = "class A:\n    rows = [depth for _ in range(2)]\nread = A.rows"
    for number in ("1", "2"):
        first.run(f"depth = {number}")
        assert not hits(first, "read", body)
        assert hits(first, "read", body)


def test_a_global_that_a_function_of_the_cell_binds_may_be_listed(first: Kernel) -> None:
    body = "def bind():\n    global bound_within\n    bound_within = 5\nbind()"
    assert not hits(first, "bound_within", body)
    first.run("del bound_within")
    assert hits(first, "bound_within", body)
    assert first.run("print(bound_within)") == "5\n"


def test_a_name_that_may_keep_its_value_from_before_counts(first: Kernel) -> None:
    first.run("flag, kept = False, 'old'")
    body = "if flag:\n    kept = 'new'\ncopied = kept"
    assert not hits(first, "copied kept", body)
    first.run("kept = 'older'")
    assert not hits(first, "copied kept", body)
    assert first.run("print(copied)") == "older\n"


# -- the fleet -----------------------------------------------------------------------------------------------------


def test_kernels_that_run_a_cell_at_once_compute_it_once(first: Kernel, second: Kernel, folder: Path) -> None:
    # The computation ends when the other kernel has taken its key, and so is about to look it up.
    looks = """
        import os, pathlib, time
        class Looked:
            def __dynmemo_digest__(self):
                pathlib.Path(f"looked {os.environ['WHO']}").touch()
                return 1
        looked = Looked()
    """
    body = """
        with open("ran.txt", "a") as file:
            file.write("ran ")
        while not pathlib.Path("looked second").exists():
            time.sleep(0.01)
        answer = looked and 42
    """
    for running in (first, second):
        running.run(looks)
    ended = first.begin(f"%%dynamo_cached answer\n{textwrap.dedent(body).strip()}")
    until((folder / "ran.txt").exists)
    assert hits(second, "answer", body)
    assert ended()["status"] == "ok"
    assert (folder / "ran.txt").read_text() == "ran "
    assert [running.run("print(answer)") for running in (first, second)] == ["42\n", "42\n"]


def test_the_times_given_are_those_of_the_entry(first: Kernel, url: str) -> None:
    shown(first, "--ttl 1d --sliding '1h 30m' timed", "timed = 1")
    cache = Cache.from_url(url)
    ((_, row),) = cache.store.scan("cell.timed:")
    cache.close()
    assert row.ttl_window == "01:30:00"
    assert row.ttl_deadline is not None
    assert row.ttl_date is not None
    assert 22 * 3600 < row.ttl_deadline - row.ttl_date < 23 * 3600


def test_what_another_secret_has_signed_is_not_read(first: Kernel) -> None:
    body = "signed = df"
    first.run("import os; os.environ['DYNMEMO_SECRET'] = 'a secret of at least some length'")
    try:
        assert not hits(first, "signed", body)
        assert hits(first, "signed", body)
        first.run("os.environ['DYNMEMO_SECRET'] = 'another secret of some length'")
        assert not hits(first, "signed", body)
    finally:
        first.run("del os.environ['DYNMEMO_SECRET']")


# -- not stored ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("changing['y'] = changing['x'] + 1\nresult = 1", "it changed its input `changing`"),
        ("alias = changing\nalias['z'] = 1\nresult = 1", "it changed its input `changing`"),
        ("changing.sort_values('x', ascending=False, inplace=True)\nresult = 1", "it changed its input `changing`"),
        ("del changing\nresult = 1", "it changed its input `changing`"),
        ("grow()\nresult = 1", "it changed its input `seen`"),
        ("other = 1", "it did not assign `result`"),
        ("changing.loc[0, 'x'] = 9", "it did not assign `result`"),
        ("if not len(df):\n    result = 1", "it did not assign `result`"),
        ("result = (x for x in [1])", "generator"),
        ("class A:\n    n = 0\nA.n = 5\nresult = A.n", "it changed its own `A`"),
        ("class A:\n    def __init__(self):\n        A.n = 1\nA()\nresult = A.n", "it changed its own `A`"),
        ("def f(x=[]):\n    x.append(1)\n    return x\nresult = len(f())", "it changed its own `f`"),
        ("def f(): f.n += 1\nf.n = 0\nf()\nresult = f.n", "it changed its own `f`"),
        ("result = np.zeros(4)\nchanging = result[1:]", "`changing` and `result` share memory"),
        (
            "result = [lambda: df.shape]",
            "`result` holds the function `<lambda>`, which on a hit would keep to `df`",
        ),
        ("def f(): return df\nresult = {1: (f,)}", "`result` holds the function `f`, which on a hit would keep to"),
        (
            "from IPython import display as d\nresult = 1\nd.publish_display_data({WIDGET: {}})",
            "it shows a live widget",
        ),
    ],
)
def test_what_cannot_be_done_again_is_not_stored_and_one_sentence_says_why(
    first: Kernel, second: Kernel, body: str, cause: str
) -> None:
    for running in (first, second):
        running.run("import numpy as np")
        running.run("changing, seen = df[['x']].copy(), []\nglobals().pop('result', None)")
        running.run("WIDGET = 'application/vnd.jupyter.widget-view+json'\ndef grow():\n    seen.append(1)")
        line = "result changing" if "changing = " in body else "result"
        told = said(shown(running, line, body))
        assert told.count("not stored") == 1
        assert cause in told


def test_a_cell_that_changes_its_input_leaves_the_right_state_in_every_kernel(first: Kernel, second: Kernel) -> None:
    for running in (first, second):
        running.run("state = [3, 1, 2]")
        shown(running, "smallest", "state.sort()\nsmallest = state[0]")
        assert running.run("print(state, smallest)") == "[1, 2, 3] 1\n"


def test_an_exception_is_shown_once_from_the_cell_on_and_nothing_is_stored(first: Kernel) -> None:
    body = "def share(x):\n    return 1 / x\nquotient = share(divisor)"
    first.run("divisor = 0")
    for _ in range(2):
        shown_error = first.fails(f"%%dynamo_cached quotient\n{body}")
        assert shown_error.count("ZeroDivisionError: division by zero") == 1
        assert "return 1 / x" in shown_error
        assert "line 4\n" in shown_error.replace(", in <module>", ""), "lines are those of the cell"
        assert "dynmemo/" not in shown_error
    first.run("divisor = 2")
    assert not hits(first, "quotient", body)


def test_without_the_cache_a_cell_just_runs(first: Kernel) -> None:
    first.run("import os; os.environ['DYNMEMO_DISABLE'] = '1'")
    try:
        assert not hits(first, "plain", "plain = 1")
        assert not hits(first, "plain", "plain = 1")
    finally:
        first.run("del os.environ['DYNMEMO_DISABLE']")


# -- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "body", "told"),
    [
        ("result", "result = await later()", "a cell that awaits cannot be cached"),
        ("result", "!ls\nresult = 1", "a `!` line in a cell does what no key sees"),
        ("result", "result = !ls", "a `!` line in a cell does what no key sees"),
        ("result", "%cd ..\nresult = 1", "a `%` line in a cell does what no key sees"),
        ("result", "%%time\nresult = 1", "a `%` line in a cell does what no key sees"),
        ("result", "from math import *\nresult = pi", "does not say which names the cell binds"),
        ("result", "exec('result = 1')", "`exec` in a cell reads or binds names that its code does not show"),
        ("result", "text = 'numbers'\nresult = eval(text)", "`eval` in a cell reads or binds names"),
        ("result", "result = globals()['numbers']", "`globals` in a cell reads or binds names"),
        ("result", "result = vars()['numbers']", "`vars` in a cell reads or binds names"),
        ("result", "result = next(numbers)", "is a generator, which has no stable content"),
        ("--ttl soon result", "result = 1", "ttl='soon' is not a time"),
        ("--forever result", "result = 1", "unrecognized arguments: --forever"),
        ("", "result = 1", "the following arguments are required: names"),
        ("class", "result = 1", "'class' is no name that a cell can bind"),
        ("result, other", "result = 1", "'result,' is no name that a cell can bind"),
    ],
)
def test_what_cannot_be_cached_is_refused_before_it_runs(first: Kernel, line: str, body: str, told: str) -> None:
    first.run("result, numbers = 'from before', (x for x in [1])")
    refused = first.fails(f"%%dynamo_cached {line}\n{body}")
    assert "UsageError: " in refused
    assert told in refused
    assert "ignore_globals" not in refused
    assert first.run("print(result)") == "from before\n"


# -- %dynmemo ------------------------------------------------------------------------------------------------------


def test_info_where_and_clear(first: Kernel, second: Kernel, folder: Path) -> None:
    for running in (first, second):
        shown(running, "counted", "counted = 1")
    header, *rows = second.run("%dynmemo info").splitlines()
    assert header.split() == ["hits", "computed", "waited", "not", "stored", "seconds", "saved"]
    (row,) = [row.split() for row in rows if row.startswith("cell.counted ")]
    assert row[1:5] == ["1", "0", "0", "0"]
    assert second.run("%dynmemo where") == f"{folder / 'cache.db'}\n"
    assert second.run("%dynmemo clear counted") == "Forgot what cells that bind counted have stored.\n"
    assert not hits(second, "counted", "counted = 1")
    assert "'counted,' is no name" in second.fails("%dynmemo clear counted, other")
    assert "%dynmemo takes info, where, doctor, ls" in second.fails("%dynmemo wipe")
    assert "cell.counted" in second.shown("%dynmemo ls")
    assert "can be read and written to" in second.shown("%dynmemo doctor")


def test_info_and_clear_know_decorated_functions(first: Kernel) -> None:
    first.run("from dynmemo import dynamo_cached\n@dynamo_cached\ndef squared(x):\n    return x * x\nsquared(3)")
    assert "__main__.squared" in first.run("%dynmemo info")
    assert first.run("%dynmemo clear squared") == "Forgot all results of squared.\n"
    assert first.run("print(squared.entry(3))") == "None\n"


# -- the docs ------------------------------------------------------------------------------------------------------


def test_the_cells_of_the_page_about_cells_run(second: Kernel) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "cells.md").read_text(encoding="utf-8")
    cells = re.findall(r"^```python ipython\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    told = [second.outputs(source) for source in cells]
    assert "cell.means,model" in told[3][0].text
    assert told[4][0].text == "Forgot what cells that bind means, model have stored.\n"
    assert second.run("print(means.to_dict(), dict(model))") == "{'OSL': 9.0, 'SEA': 12.0} {'SEA': 2, 'OSL': 1}\n"
