"""Rooms know only those below them, and importing the library stays light."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import dynmemo
from tests.pythons import printed

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(dynmemo.__file__).parent

# From the ground up. A room may import those further up in this list and its own modules, nothing else of ours.
ROOMS = [
    "_version",
    "_process",
    "telling",
    "errors",
    "tracebacks",
    "views",
    "origin",
    "counters",
    "failures",
    "item",
    "expiry",
    "parts",
    "keys",
    "codec",
    "stores",
    "near",
    "generations",
    "cache",
    "defaults",
    "integrations",
    "leases",
    "purging",
    "transfer",
    "entries",
    "explain",
    "prices",
    "costs",
    "calls",
    "looking",
    "moving",
    "magics",
    "",  # the package itself: what `from dynmemo import ...` gives
    "testing",
    "demo",
    "cli",
    "__main__",
]

# Who runs code of these; everybody else may at most name their types.
KNOWN_ONLY_TO = {
    "boto3": {"stores.dynamodb", "stores.s3"},
    "botocore": {"stores.dynamodb", "stores.s3"},
    "sqlite3": {"stores.sqlite"},
    # Stored values; the round trip that shows whether an argument is stable; functions on their way to a worker.
    "cloudpickle": {"codec", "keys.digest", "calls.travel"},
    "wrapt": {"calls"},
    "typer": {"cli", "__main__"},
    # Whoever shows something in a notebook asks it for its display.
    "IPython": {"magics", "calls.display"},
    **{name: {f"integrations.{name}"} for name in ("django", "cachelib", "litestar", "starsessions", "key_value")},
}

HEAVY = ("boto3", "botocore", "numpy", "pandas", "cloudpickle", "IPython")
"""What neither an import of the package nor a hit loads."""
SLOW = (
    "wrapt",  # it imports asyncio and importlib.metadata, which take longer than all of ours
    *("asyncio", "concurrent.futures", "importlib.metadata", "ssl", "socket", "subprocess", "email"),
    *("hashlib", "hmac", "secrets", "tempfile", "shutil", "html", "ctypes", "platformdirs"),
    *("uuid", "platform", "zoneinfo", "decimal", "fractions", "json", "logging", "dynmemo.explain", "dynmemo.purging"),
    "dynmemo.keys.reading",  # and all of that room that reads code and arguments
    *("pytest", "unittest", "dynmemo.testing"),
)
"""What takes milliseconds each, and is loaded when it is used first: with the first decorated function, for example."""


def module_names() -> list[str]:
    """All modules, without the leading `dynmemo.`; the package itself is the empty name."""
    parts = (path.relative_to(PACKAGE).with_suffix("").parts for path in PACKAGE.rglob("*.py"))
    return sorted(".".join(part[:-1] if part[-1] == "__init__" else part) for part in parts)


def room_of(module: str) -> str:
    return module.split(".")[0]


def source_of(module: str) -> ast.Module:
    path = PACKAGE.joinpath(*module.split(".")) if module else PACKAGE
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names of everything imported, wherever it stands; of `from a import b` both `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written out in full"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"import_module", "importlib.import_module"}:
            yield from (str(argument.value) for argument in node.args[:1] if isinstance(argument, ast.Constant))


def imported_rooms(tree: ast.AST, modules: set[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (
                room_of(alias.name.removeprefix("dynmemo").lstrip(".")) for alias in node.names if ours(alias.name)
            )
        elif isinstance(node, ast.ImportFrom) and node.module is not None and ours(node.module):
            # `from dynmemo import expiry` means the module, `from dynmemo import Cache` the package.
            here = inside(node.module)
            yield from (room_of(here or (alias.name if alias.name in modules else "")) for alias in node.names)


def ours(name: str) -> bool:
    return name == "dynmemo" or name.startswith("dynmemo.")


def inside(name: str) -> str:
    return name.removeprefix("dynmemo").lstrip(".")


def running_code(tree: ast.Module) -> ast.Module:
    """The module without its `if TYPE_CHECKING:` blocks."""

    class Remover(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
            self.generic_visit(node)
            return node.orelse if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else node

    without = Remover().visit(tree)
    assert isinstance(without, ast.Module)
    return without


@pytest.mark.parametrize("module", module_names())
def test_a_room_imports_only_rooms_below_it(module: str) -> None:
    room = room_of(module)
    assert room in ROOMS, f"give {room} its place in ROOMS"
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    above = set(imported_rooms(source_of(module), set(module_names()))) - allowed
    assert not above, f"{module} imports {above}, which lie above it"


@pytest.mark.parametrize("module", module_names())
def test_a_third_party_library_is_known_to_its_own_rooms_only(module: str) -> None:
    for name in imports(running_code(source_of(module))):
        owners = KNOWN_ONLY_TO.get(name.split(".")[0])
        known = owners is None or any(f"{module}.".startswith(f"{owner}.") for owner in owners)
        assert known, f"{module} imports {name}, which is for {owners}"


def test_the_import_rule_sees_what_it_should() -> None:
    tree = ast.parse(
        "from dynmemo import expiry, Cache\nimport dynmemo.calls\nfrom dynmemo.stores.sqlite import X\nimport os"
    )
    assert set(imported_rooms(tree, {"expiry"})) == {"expiry", "", "calls", "stores"}
    hidden = "if TYPE_CHECKING:\n    import boto3\ndef f():\n    import wrapt\n    importlib.import_module('typer')"
    assert set(imports(running_code(ast.parse(hidden)))) == {"wrapt", "typer"}


def test_importing_dynmemo_loads_nothing_heavy() -> None:
    code = f"import sys, dynmemo; print([name for name in {HEAVY + SLOW!r} if name in sys.modules])"
    assert printed("-c", code) == "[]\n"


def test_a_hit_loads_only_what_the_value_needs(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        f"""
import sys
from dynmemo import dynamo_cached

@dynamo_cached
def square(number):
    return number * number

assert square(3) == 9
print(square.cache_info().hits, [name for name in {HEAVY!r} if name in sys.modules])
"""
    )
    url = f"sqlite:///{(tmp_path / 'cache.db').as_posix()}"
    printed(str(program), DYNMEMO_URL=url)
    assert printed(str(program), DYNMEMO_URL=url) == "1 []\n"


def test_all_names_exist_and_nothing_else_is_public() -> None:
    names = (name for name in dir(dynmemo) if not name.startswith("_"))
    public = {name for name in names if not is_module(getattr(dynmemo, name))}
    assert public | {"__version__"} == set(dynmemo.__all__) | {"annotations"}
    assert dynmemo.__all__ == sorted(dynmemo.__all__)


def is_module(value: object) -> bool:
    return isinstance(value, type(sys))


def test_all_holds_the_decorator_the_cache_and_every_error() -> None:
    from dynmemo import errors

    expected = {
        "dynamo_cached",
        "Cache",
        "configure",
        "clear",
        "CacheInfo",
        "Entry",
        "Explanation",
        "__version__",
        *errors.__all__,
    }
    assert expected <= set(dynmemo.__all__)
