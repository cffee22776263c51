"""Code of a notebook or script goes by value, and is loaded only where it can run."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

import cloudpickle
import numpy as np
import pandas as pd
import pytest

import dynmemo
from dynmemo.codec import Codec, serializers
from dynmemo.codec.envelope import read_header
from tests.codec.helpers import KEY, NOW, cause, forge, read, round_trip, write
from tests.pythons import OTHERS, other_pandas, other_python, printed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNNEEDED = ["cloudpickle", "backports.zstd", "compression.zstd", "pyarrow", "numpy", "cryptography"]
ROOT = Path(dynmemo.__file__).parent.parent

WRITER = f"""
import dataclasses, enum, sys
from dynmemo.codec import Codec

class Weather(enum.Enum):
    SUN = 1

@dataclasses.dataclass
class Forecast:
    city: str
    weather: Weather = Weather.SUN
    def shout(self):
        return self.city.upper() + self.weather.name

VALUES = {{"class": Forecast("sea"), "lambda": lambda x: x + 1, "both": [Forecast("sea").shout, Forecast]}}

def main():
    data = Codec().dumps(VALUES[sys.argv[1]], key={KEY!r}, computed_at=1.0, seconds=1.0, deadline=None)
    sys.stdout.buffer.write(data)

if __name__ == "__main__":
    main()
"""

SPAWN = """
if __name__ == "__main__":
    import multiprocessing
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        sys.stdout.buffer.write(pool.apply(main))
"""

READER = f"""
import sys
from dynmemo.codec import Codec
from dynmemo.errors import UnreadableValueError
try:
    value = Codec().loads(sys.stdin.buffer.read(), key={KEY!r}, now=1.0).value
except UnreadableValueError as error:
    print(error.cause)
else:
    print(eval(sys.argv[1]))
"""


def run(program: str, argument: str, stdin: bytes = b"", python: str = sys.executable, path: str = "") -> bytes:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), path]))}
    return subprocess.run(
        [python, "-P", "-c", program, argument], input=stdin, capture_output=True, check=True, env=environment
    ).stdout


@pytest.mark.parametrize(
    ("what", "use", "result"),
    [
        ("class", "value.shout()", b"SEASUN"),
        ("lambda", "value(41)", b"42"),
        ("both", "value[0]() + value[1]('x').shout()", b"SEASUNXSUN"),
    ],
)
def test_what_one_main_program_defines_another_reads(what: str, use: str, result: bytes) -> None:
    assert run(READER, use, run(WRITER, what)).strip() == result


def test_what_a_spawned_worker_defines_its_parent_and_a_stranger_read(tmp_path: Path) -> None:
    """There the script is called `__mp_main__`, which no other process could import."""
    script = tmp_path / "script.py"
    definitions = WRITER.replace("sys.stdout.buffer.write(data)", "return data").rsplit("if __name__", 1)[0]
    script.write_text(definitions + SPAWN)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    data = subprocess.run(
        [sys.executable, str(script), "class"], capture_output=True, check=True, env=environment
    ).stdout
    assert run(READER, "value.shout()", data).strip() == b"SEASUN"


def test_what_is_registered_with_cloudpickle_for_a_worker_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    main = types.ModuleType("__mp_main__")
    exec("class Forecast:\n    city = 'SEA'", vars(main))
    monkeypatch.setitem(sys.modules, "__mp_main__", main)

    class Nested:
        """Writes an envelope while it is being pickled itself."""

        def __reduce__(self) -> tuple[Callable[..., object], tuple[bytes]]:
            return bytes, (write(Codec(), main.Forecast()),)

    data = write(Codec(), [Nested(), main.Forecast()])
    assert read_header(data).flags & serializers.BY_VALUE
    monkeypatch.delitem(sys.modules, "__mp_main__")
    assert read(Codec(), data).value[1].city == "SEA"  # type: ignore[index]
    assert cloudpickle.list_registry_pickle_by_value() == set()


def test_in_one_process_the_class_stays_the_same() -> None:
    class Local:
        pass

    assert isinstance(round_trip(Codec(), Local()), Local)


def test_code_by_value_is_marked_with_the_python_that_wrote_it() -> None:
    header = read_header(write(Codec(), lambda: None))
    assert header.python == sys.version_info[:2]
    assert read_header(write(Codec(), Path)).python == (0, 0)


def test_code_of_another_python_is_never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = write(Codec(), lambda: None)
    monkeypatch.setattr("dynmemo.codec.envelope._THIS_PYTHON", (3, 99))
    assert cause(Codec(), data) == "python"


def test_code_that_an_object_pickled_by_value_itself_is_marked_too() -> None:
    class Wrapped:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[bytes]]:
            return pickle.loads, (cloudpickle.dumps(lambda: 42),)

    assert read_header(write(Codec(), [Wrapped()])).python == sys.version_info[:2]


@pytest.mark.parametrize("version", OTHERS)
def test_another_python_reads_data_and_refuses_code(version: str) -> None:
    other = other_python(version)
    codec = Codec()
    assert run(READER, "len(value[0])", write(codec, ["x" * 5000]), python=other).strip() == b"5000"
    assert run(READER, "value()", write(codec, lambda: 1), python=other).strip() == b"python"
    assert cause(codec, run(WRITER, "class", python=other), now=1.0) == "python"
    assert cause(codec, run(WRITER, "lambda", python=other), now=1.0) == "python"


FRAME = "pd.DataFrame({'mean': [1.5, None], 'model': ['x', None], 'n': [1, 2]}, pd.date_range('2024', periods=2))"
WRITE_FRAME = f"""
import sys, pandas as pd
from dynmemo.codec import Codec
sys.stdout.buffer.write(bytes(Codec().dumps({FRAME}, key={KEY!r}, computed_at=1.0, seconds=1.0, deadline=None)))
"""


def test_a_frame_of_another_pandas_is_equal_or_a_miss() -> None:
    other = other_pandas(pd.__version__)
    for writer, reader in ((sys.executable, other), (other, sys.executable)):
        use = "(lambda pd: bool(value.astype(object).equals(" + FRAME + ".astype(object))))(__import__('pandas'))"
        said = run(READER, use, run(WRITE_FRAME, "", python=writer), python=reader).strip()
        assert said in {b"True", b"pickle"}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[types.ModuleType]:
    """A module of the user's that can be imported here, with a class in it."""
    (tmp_path / "my_weather.py").write_text("class Forecast:\n    city = 'SEA'\n")
    monkeypatch.syspath_prepend(tmp_path)
    import importlib

    yield importlib.import_module("my_weather")
    sys.modules.pop("my_weather", None)


def test_what_can_be_imported_goes_by_reference(module: types.ModuleType) -> None:
    data = write(Codec(), module.Forecast())
    assert not read_header(data).flags & serializers.BY_VALUE
    assert run(READER, "value.city", data, path=str(Path(module.__file__ or "").parent)).strip() == b"SEA"
    assert run(READER, "value.city", data).strip() == b"pickle"


def test_modules_registered_with_cloudpickle_go_by_value(module: types.ModuleType) -> None:
    cloudpickle.register_pickle_by_value(module)
    try:
        data = write(Codec(), module.Forecast())
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    assert run(READER, "value.city", data).strip() == b"SEA"


def test_a_missing_module_is_told_by_name(module: types.ModuleType) -> None:
    data = write(Codec(), module.Forecast())
    del sys.modules["my_weather"], module.Forecast
    sys.path.pop(0)
    with pytest.raises(dynmemo.errors.UnreadableValueError, match="there is no module 'my_weather'"):
        read(Codec(), data)


def test_a_missing_class_is_told_by_name(module: types.ModuleType) -> None:
    data = write(Codec(), module.Forecast())
    del module.Forecast
    with pytest.raises(dynmemo.errors.UnreadableValueError, match="Can't get attribute 'Forecast'"):
        read(Codec(), data)


class Raises:
    """Its unpickling raises what it was given."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Callable[..., object], tuple[type[BaseException]]]:
        return raise_it, (self.error,)


def raise_it(error: type[BaseException]) -> None:
    raise error("hunter2")


@pytest.mark.parametrize(
    ("error", "expected"),
    [(ValueError, "pickle"), (RecursionError, "pickle"), (MemoryError, "memory")],
)
def test_an_error_of_unpickling_is_an_unreadable_value(error: type[BaseException], expected: str) -> None:
    data = write(Codec(), Raises(error))
    assert cause(Codec(), data) == expected
    with pytest.raises(dynmemo.errors.UnreadableValueError) as raised:
        read(Codec(), data)
    assert "hunter2" not in str(raised.value)


class PanicException(BaseException):
    pass


def test_a_panic_of_an_extension_is_an_unreadable_value() -> None:
    assert cause(Codec(), write(Codec(), Raises(PanicException))) == "pickle"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_an_interrupt_during_unpickling_goes_on_to_the_caller(error: type[BaseException]) -> None:
    data = write(Codec(), Raises(error))
    with pytest.raises(error):
        Codec().loads(data, key=KEY, now=NOW)


def test_a_plain_value_is_written_and_read_without_cloudpickle_and_zstd() -> None:
    program = f"""
import sys
from dynmemo.codec import Codec
data = Codec().dumps({{"a": [1.5] * 50}}, key="k", computed_at=1.0, seconds=1.0, deadline=None)
assert Codec().loads(data, key="k", now=1.0).value
print([name for name in {UNNEEDED} if name in sys.modules])
"""
    assert run(program, "").strip() == b"[]"


def test_small_arrays_stay_in_the_pickle_stream_and_large_ones_do_not() -> None:
    def header(size: int) -> int:
        return read_header(write(Codec(), np.zeros(size, "u1"))).flags & serializers.BUFFERS

    assert not header(16 * 1024 - 1)
    assert header(16 * 1024)


def test_a_value_pickled_by_somebody_else_with_a_right_digest_is_read() -> None:
    assert read(Codec(), forge(pickle.dumps([1, 2], protocol=2))).value == [1, 2]


HIT = f"""
import types
from dynmemo.codec import Codec

RATE = 1

class Model:
    table = []
    def of(self, x): return x * RATE

def make():
    class Local:
        def of(self): return RATE
    return Local

Local = make()

def through(value):
    data = bytes(Codec().dumps(value, key={KEY!r}, computed_at=1.0, seconds=1.0, deadline=None))
    return Codec().loads(data, key={KEY!r}, now={NOW!r}).value

import numpy
before = Model.of, Model.table, Local.of
copies = [through(Model()), through([Model(), numpy.zeros(9_000)])[0]]
local = through(Local())
assert all(now is then for now, then in zip((Model.of, Model.table, Local.of), before))
RATE = 100
assert [copy.of(1) for copy in copies] == [100, 100] and local.of() == Model().of(1) == 100
assert {{type(copy) for copy in copies}} == {{Model}} and type(local) is Local
"""


def test_a_hit_leaves_the_classes_of_this_process_as_they_are(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(HIT)
    printed(str(script))
