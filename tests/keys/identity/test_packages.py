"""Own code that objects of packages hold where Python does not show it, and what of such objects does not count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.pythons import printed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.keys.identity.helpers import Lab

WRAPPER = """
import wrapt
@wrapt.decorator
def doubled(wrapped, instance, args, kwargs):
    return wrapped(*args, **kwargs) * NUMBER
"""
TYPE = """
import sqlalchemy as sa
class Scaled(sa.types.TypeDecorator):
    impl = sa.Integer
    def process_result_value(self, value, dialect):
        return value * NUMBER
column = sa.column("a", Scaled)
"""
NAMESPACE = """
import warnings
import polars as pl
with warnings.catch_warnings(action="ignore"):  # that it is there already
    @pl.api.register_KIND_namespace("mine")
    class Mine:
        def __init__(self, column): pass
        def scaled(self): return NUMBER
def f(table):
    return table.mine.scaled()
"""
HOLDERS = {
    "polars": NAMESPACE.replace("KIND", "dataframe"),
    "polars, an expression": NAMESPACE.replace("KIND", "expr"),
    "wrapt": WRAPPER + "@doubled\ndef g(x):\n    return x\ndef f(x):\n    return g(x)",
    "wrapt, on a method": WRAPPER + "class A:\n    @doubled\n    def g(self): pass\ndef f():\n    return A().g()",
    "wrapt, on the function": WRAPPER + "@doubled\ndef f(x):\n    return x",
    "sqlalchemy": TYPE + "statement = sa.select(column)\ndef f():\n    return statement",
    "sqlalchemy, a parameter": TYPE
    + "statement = sa.select(sa.column('b')).where(column == 1)\ndef f():\n    return statement",
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_own_code_counts_where_a_package_holds_it(lab: Lab, holder: str) -> None:
    pytest.importorskip(holder.partition(",")[0])
    first, other, again = (lab.fingerprint(HOLDERS[holder].replace("NUMBER", number)) for number in "232")
    assert first == again != other


def test_a_coerced_type_counts_though_the_statement_reads_the_same(lab: Lab) -> None:
    pytest.importorskip("sqlalchemy")
    text = "import sqlalchemy as sa\ns = sa.select(sa.type_coerce(sa.column('a'), sa.TYPE))\ndef f():\n    return s"
    assert lab.fingerprint(text.replace("TYPE", "String")) != lab.fingerprint(text.replace("TYPE", "Date"))


CHECKED = """
import beartype
from dynmemo.keys.identity import CodeIdentity
@beartype.beartype
def g(x: int) -> int:
    return x
def f(x):
    return g(x)
print(CodeIdentity(f).current())
"""


def test_a_function_that_beartype_checks_is_the_same_whatever_the_hash_seed(tmp_path: Path) -> None:
    pytest.importorskip("beartype")
    (tmp_path / "checked.py").write_text(CHECKED)
    assert len({printed("checked.py", folder=tmp_path, PYTHONHASHSEED=seed) for seed in "12"}) == 1
