"""Functions of a script are called as `import` calls its file, and what one of the two has stored the other finds."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.pythons import ROOT, printed, ran

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
import json, multiprocessing, sys
from dataclasses import dataclass
from dynmemo import dynamo_cached

print("loaded", file=sys.stderr)

@dataclass
class Point:
    x: int

    def double(self):
        return 2 * self.x

@dynamo_cached
def slow(x, y=None):
    return Point(x)

@dynamo_cached(name="chosen")
def named(x):
    return x

class Loader:
    @dynamo_cached
    def load(self, x):
        return x

def ask(x):
    result, info = slow(x), slow.cache_info()
    return [slow.cache_parameters()["name"], info.hits, type(result) is Point, result.double()]

def main():
    names = [f.cache_parameters()["name"] for f in (slow, Loader.load, named)]
    print(json.dumps({"names": names, "asked": ask(1), "key": slow.cache_key(Point(2), len)}))

if __name__ == "__main__":
    way = sys.argv[1] if len(sys.argv) > 1 else ""
    if way == "loky":
        from joblib import Parallel, delayed
        print(json.dumps(Parallel(n_jobs=2)([delayed(ask)(1)])[0]))
    elif way:
        with multiprocessing.get_context(way).Pool(1) as pool:
            print(json.dumps(pool.apply(ask, [1])))
    else:
        main()
"""

PROGRAM = """
import sys
from dynmemo import dynamo_cached

@dynamo_cached
def load(x):
    return x + OFFSET

if "clear" in sys.argv:
    load.cache_clear()
load(1)
print(load.cache_info().hits)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mod.py").write_text(MODULE)
    package = tmp_path / "pkg" / "sub"
    package.mkdir(parents=True)
    for file in (package.parent / "__init__.py", package / "__init__.py"):
        file.write_text("")
    (package / "mod.py").write_text(MODULE)
    return tmp_path


def run(*arguments: str, folder: Path, path: str = "") -> Any:
    url = f"sqlite:///{(folder / 'cache.db').as_posix()}"
    search = os.pathsep.join(filter(None, [str(ROOT), path]))
    return json.loads(printed(*arguments, folder=folder, DYNMEMO_URL=url, PYTHONPATH=search))


IMPORTED = ("-c", "import mod; mod.main()")


@pytest.mark.parametrize(("first", "second"), [(("mod.py",), IMPORTED), (IMPORTED, ("mod.py",))])
def test_a_script_and_who_imports_it_share(folder: Path, first: tuple[str, ...], second: tuple[str, ...]) -> None:
    one, other = run(*first, folder=folder), run(*second, folder=folder)
    assert one["names"] == other["names"] == ["mod.slow", "mod.Loader.load", "chosen"]
    assert one["key"] == other["key"]
    assert one["asked"] == ["mod.slow", 0, True, 2]
    assert other["asked"] == ["mod.slow", 1, True, 2], "a result of the reader's own class, however it was stored"


def test_a_script_that_finds_what_an_import_has_stored_is_loaded_once(folder: Path) -> None:
    run(*IMPORTED, folder=folder)
    url = f"sqlite:///{(folder / 'cache.db').as_posix()}"
    done = ran("mod.py", folder=folder, DYNMEMO_URL=url)
    assert json.loads(done.stdout)["asked"][1] == 1
    assert done.stderr.count("loaded") == 1


@pytest.mark.parametrize("way", ["spawn", "loky"])
def test_children_call_it_the_same_and_find_what_is_there(folder: Path, way: str) -> None:
    run(*IMPORTED, folder=folder)
    assert run("mod.py", way, folder=folder) == ["mod.slow", 1, True, 2]


@pytest.mark.parametrize(
    ("arguments", "path", "name"),
    [
        (("pkg/sub/mod.py",), "", "mod.slow"),  # its own folder is searched, that of the package is not
        (("pkg/sub/mod.py",), ".", "pkg.sub.mod.slow"),
        (("-m", "pkg.sub.mod"), "", "pkg.sub.mod.slow"),
        (("-m", "mod"), "", "mod.slow"),
        (("-I", "mod.py"), "", None),  # no folder is searched but those of packages
        (("-c", MODULE), "", "__main__.slow"),
        (("-m", "cProfile", "-o", "profile", "mod.py"), "", "mod.slow"),
    ],
    ids=["in a package", "in a package that is searched", "-m pkg.sub.mod", "-m mod", "isolated", "-c", "profiled"],
)
def test_what_a_function_is_called(folder: Path, arguments: tuple[str, ...], path: str, name: str | None) -> None:
    if name is None:
        start = f"import sys; sys.path.append({str(ROOT)!r})"
        (folder / "mod.py").write_text(f"{start}\n{MODULE}")
        name = "__main__.slow"
    assert run(*arguments, folder=folder, path=str(folder) if path else "")["names"][0] == name


@pytest.mark.parametrize("file", ["json.py", "my-script.py", "mod.txt", "run"])
def test_a_file_that_import_would_not_take_is_called_main(folder: Path, file: str) -> None:
    (folder / "scripts").mkdir()
    script = folder / "scripts" / file
    # The standard library's json was imported by the first line already.
    script.write_text(f"import sys; sys.path.pop(0)\nimport json\n{MODULE}" if file == "json.py" else MODULE)
    assert run(str(script), folder=folder)["names"][0] == "__main__.slow"


def test_a_script_clears_what_those_who_import_it_have_stored_of_its_code(folder: Path) -> None:
    (folder / "mod.py").write_text(MODULE.replace("        main()", "        slow.cache_clear(); main()"))
    run(*IMPORTED, folder=folder)
    assert run("mod.py", folder=folder)["asked"] == ["mod.slow", 0, True, 2]


@pytest.mark.parametrize("way", ["folder", "profiled", "script"])
def test_a_program_clears_its_own_however_it_is_run(folder: Path, way: str) -> None:
    def runs(offset: int, *arguments: str) -> int:
        home = folder / f"app-{offset}"
        home.mkdir(exist_ok=True)
        file = home / ("__main__.py" if way == "folder" else "my-script.py")
        file.write_text(PROGRAM.replace("OFFSET", str(offset)))
        how = ("-m", "cProfile", "-o", "profile") if way == "profiled" else ()
        hits: int = run(*how, str(home if way == "folder" else file), *arguments, folder=folder)
        return hits

    assert [runs(1), runs(2), runs(1, "clear"), runs(2)] == [0, 0, 0, 1]
