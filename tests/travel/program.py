"""A script whose decorated functions are sent to other processes; says for each whether it arrived whole.

Its arguments: the way of sending (fork, spawn, forkserver, loky, dask or file), and a file to use.
"""

from __future__ import annotations

import atexit
import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import dynmemo
from dynmemo import dynamo_cached

if TYPE_CHECKING:
    from collections.abc import Callable

RATE = 3


def helper(x: int) -> int:
    return x * RATE


@dynamo_cached
def recursive(x: int) -> int:
    return helper(x) + (recursive(x - 1) if x > 0 else 0)


@dynamo_cached
def even(n: int) -> bool:
    return n == 0 or odd(n - 1)


@dynamo_cached
def odd(n: int) -> bool:
    return n != 0 and even(n - 1)


class Model:
    def __init__(self, rate: int) -> None:
        self.rate = rate

    @dynamo_cached
    def scale(self, x: int) -> int:
        return self.rate * x

    @dynamo_cached
    @classmethod
    def build(cls, x: int) -> str:
        return f"{cls.__name__}{x}"


def make(n: int) -> Any:
    @dynamo_cached
    def inner(x: int) -> int:
        return x + n

    return inner


def probe(function: Any, x: int) -> tuple[Any, int, str]:
    return function(x), function.cache_info().hits, function.cache_key(x)


def travellers() -> dict[str, Any]:
    return {
        "recursive": recursive,
        "mutually recursive": even,
        "bound method": Model(2).scale,
        "classmethod": Model.build,
        "closure": make(4),
    }


def through_a_file(path: str) -> Callable[[Any, int], tuple[Any, int, str]]:
    """A process that knows nothing of this script, not even its cache."""
    reader = (
        "import pickle, sys\n"
        "with open(sys.argv[1], 'rb') as file: function, x = pickle.load(file)\n"
        "answer = function(x), function.cache_info().hits, function.cache_key(x)\n"
        "with open(sys.argv[1], 'wb') as file: pickle.dump(answer, file)\n"
    )

    def send(function: Any, x: int) -> tuple[Any, int, str]:
        import os
        import pickle
        from pathlib import Path

        import cloudpickle

        Path(path).write_bytes(cloudpickle.dumps((function, x)))
        environment = {name: value for name, value in os.environ.items() if name != "DYNMEMO_URL"}
        subprocess.run([sys.executable, "-c", reader, path], check=True, env=environment)
        answer: tuple[Any, int, str] = pickle.loads(Path(path).read_bytes())
        return answer

    return send


def through_dask() -> Callable[[Any, int], tuple[Any, int, str]]:
    """Workers of a cluster on this machine, which import nothing of this script."""
    from dask import config
    from distributed import Client, LocalCluster

    config.set({"distributed.worker.memory.terminate": False})
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None, host="127.0.0.1", silence_logs=50
    )
    client = Client(cluster)

    def send(function: Any, x: int) -> tuple[Any, int, str]:
        # The function itself as a task, as people write it, and mapped; then what it counted where it ran.
        assert client.submit(function, x).result() == function(x)
        assert client.gather(client.map(function, [x, x])) == [function(x)] * 2
        answer: tuple[Any, int, str] = client.submit(probe, function, x).result()
        return answer

    atexit.register(lambda: (client.close(), cluster.close()))
    return send


def main(way: str, path: str) -> None:
    dynmemo.configure(f"sqlite:///{path}.db")
    pool = None
    send: Callable[[Any, int], tuple[Any, int, str]]
    if way == "loky":
        from joblib import Parallel, delayed

        def send(function: Any, x: int) -> tuple[Any, int, str]:
            answer: tuple[Any, int, str] = Parallel(n_jobs=2)([delayed(probe)(function, x)])[0]
            return answer

    elif way == "file":
        send = through_a_file(path)
    elif way == "dask":
        send = through_dask()
    else:
        pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(way))

        def send(function: Any, x: int) -> tuple[Any, int, str]:
            return pool.submit(probe, function, x).result()

    for name, function in travellers().items():
        expected = function(2)
        got, hits, key = send(function, 2)
        ok = got == expected and hits >= 1 and key == function.cache_key(2)
        print(f"{name}: {'arrived' if ok else f'LOST {got!r} {hits} {key}'}")
    if pool is not None:
        pool.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
