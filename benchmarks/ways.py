"""How large the package is, and how straight the ways of a call are: `python benchmarks/ways.py [--root FOLDER]`.

Prints, for the checkout in FOLDER (default: this one), files and lines, import circles, private functions that have one
caller, and for three calls (a warm hit, a lone miss, a miss after a helper was edited) through how many files of the
package they pass and how often they go from one file to another.
"""

from __future__ import annotations

import argparse
import ast
import collections
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import tokenize
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
KEY_ROOMS = ("keys", "identity", "digest")
"""What makes keys; the ways are also counted without it."""

PROGRAM = """
import json, os, sys
import dynmemo

dynmemo.configure("sqlite:///" + sys.argv[1])
package = os.path.dirname(dynmemo.__file__)
rate = 2

def helper(x):
    return x * rate

@dynmemo.dynamo_cached(ttl="1h")
def f(x):
    return helper(x)

def way(act):
    files = []
    def seen(frame, event, arg):
        if event == "call":
            file = frame.f_code.co_filename
            if file.startswith(package):
                files.append(os.path.relpath(file, package).replace(os.sep, "/"))
    sys.setprofile(seen)
    try:
        act()
    finally:
        sys.setprofile(None)
    return files

f(0); f(0)  # connections, generations and the first walk over the code
ways = {"warm hit": way(lambda: f(0)), "lone miss": way(lambda: f(1))}
exec(compile("def helper(x):\\n    return x * rate + 1\\n", "edited", "exec"), globals())
ways["miss after an edited helper"] = way(lambda: f(2))
print(json.dumps(ways))
"""

READS = ["look", "peek", "judge", "stale", "describe", "_judge", "_look_again", "_look", "_seen", "read", "lookup"]


def module_files(root: Path) -> list[Path]:
    return sorted((root / "dynmemo").rglob("*.py"))


def in_keys(path: Path, root: Path) -> bool:
    first = path.relative_to(root / "dynmemo").parts[0]
    return first in KEY_ROOMS or first == "keys.py"


def code_lines(path: Path) -> set[int]:
    """Numbers of the lines with code: no blank ones, comments and docstrings."""
    source = path.read_text(encoding="utf-8")
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skipped:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        for text in getattr(node, "body", []) if isinstance(getattr(node, "body", None), list) else []:
            if (
                isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            ):
                lines -= set(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return lines


def import_lines(path: Path) -> int:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return sum(
        (node.end_lineno or node.lineno) - node.lineno + 1
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
    )


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def import_graph(root: Path) -> dict[str, set[str]]:
    """Which modules each module imports, also where an import stands in a function; not those for types."""
    graph: dict[str, set[str]] = {}
    names = {module_name(path, root): path for path in module_files(root)}
    for name, path in names.items():
        graph[name] = set()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        typing = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if id(node) in typing:
                continue
            if isinstance(node, ast.ImportFrom) and node.module:
                wanted = [f"{node.module}.{alias.name}" for alias in node.names]
                graph[name].update(one if one in names else node.module for one in wanted)
            elif isinstance(node, ast.Import):
                graph[name].update(alias.name for alias in node.names)
        graph[name] = {other for other in graph[name] if other in names and other not in (name, "dynmemo")}
    return graph


def circles(root: Path) -> list[list[str]]:
    """Groups of modules that import each other, and groups of rooms that do."""
    modules = import_graph(root)
    rooms: dict[str, set[str]] = {room(name): set() for name in modules}
    for name, others in modules.items():
        rooms[room(name)].update(room(other) for other in others if room(other) != room(name))
    rooms.pop("dynmemo")  # the package itself imports all, and gives names to a few
    for others in rooms.values():
        others.discard("dynmemo")
    return [group for graph in (modules, rooms) for group in components(graph) if len(group) > 1]


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def components(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components."""
    reach = {name: reachable(graph, name) for name in graph}
    groups: list[list[str]] = []
    left = set(graph)
    while left:
        name = min(left)
        group = {other for other in reach[name] if name in reach[other]} | {name}
        left -= group
        groups.append(sorted(group))
    return groups


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead.extend(graph[name])
    return seen


def private_functions(root: Path) -> tuple[int, int]:
    """How many private functions the modules have, and how many of them are named in one place only."""
    count = once = 0
    for path in module_files(root):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        private = [
            node.name
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_private(node.name)
        ]
        named = collections.Counter(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
        count += len(private)
        once += sum(named[name] == 1 for name in private)
    return count, once


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def reading_words(root: Path) -> list[str]:
    """Names of functions that read a row and say what it means, of those that have been used for it."""
    defined = {
        node.name
        for path in module_files(root)
        if not in_keys(path, root) and "stores" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return [word for word in READS if word in defined]


def ways(root: Path) -> dict[str, list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "program.py")
        program.write_text(PROGRAM, encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": str(root)}
        environment.pop("DYNMEMO_URL", None)
        command = [sys.executable, str(program), Path(folder, "cache.db").as_posix()]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def changes(files: list[str]) -> int:
    return sum(1 for one, other in itertools.pairwise(files) if one != other)


def without_keys(files: list[str]) -> list[str]:
    return [file for file in files if file.split("/")[0] not in KEY_ROOMS and file != "keys.py"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--root", type=Path, default=HERE)
    root = parser.parse_args().root.resolve()
    files = module_files(root)
    outside = [path for path in files if not in_keys(path, root)]
    for title, group in (("the package", files), ("outside of keys", outside)):
        lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in group)
        code, imports = sum(len(code_lines(path)) for path in group), sum(map(import_lines, group))
        print(f"{title}: {len(group)} files, {lines:,} lines ({code:,} of code, {imports:,} of imports)")
    for name, way in ways(root).items():
        short = without_keys(way)
        print(
            f"{name}: {len(set(way))} files, {changes(way)} changes of file; "
            f"without keys {len(set(short))} files, {changes(short)} changes"
        )
    found = circles(root)
    print("import circles:", "; ".join(" ~ ".join(group) for group in found) or "none")
    private, once = private_functions(root)
    print(f"private functions: {private}, {once} of them named in one place only")
    print("words for reading a row and saying what it means:", ", ".join(reading_words(root)))


if __name__ == "__main__":
    main()
