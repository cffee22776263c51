"""A lease's owner: told from others, and known to be gone."""

from __future__ import annotations

import gc
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from dynmemo import Cache, dynamo_cached
from dynmemo.leases import owner
from dynmemo.leases.owner import is_gone, owner_name, settle
from dynmemo.testing.together import until
from tests.pythons import printed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TELL = "import sys; from dynmemo.leases.owner import owner_name; print(owner_name(), flush=True); sys.stdin.read()"

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a process started without more")
can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


@contextmanager
def another() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that runs until its input ends, and its name."""
    command = [sys.executable, "-c", TELL]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()


def with_part(owner: str, index: int, part: str) -> str:
    parts = owner.split("/")
    parts[index] = part
    return "/".join(parts)


def test_a_name_tells_the_process_but_no_host_and_is_new_for_every_claim() -> None:
    first, second = owner_name(), owner_name()
    assert re.fullmatch(rf"[0-9a-f]{{16}}/{os.getpid()}/[0-9]*/[0-9a-f]{{16}}", first)
    assert first.rpartition("/")[0] == second.rpartition("/")[0]
    assert first != second
    assert socket.gethostname() not in first


def test_another_process_on_this_machine_has_another_name_of_the_same_machine() -> None:
    with another() as (_, name):
        assert name != owner_name()
        assert name.split("/")[0] == owner_name().split("/")[0]


class Holder:
    is_alive = True


def test_a_name_under_which_this_process_computes_is_not_gone() -> None:
    holder = Holder()
    assert not is_gone(owner_name(holder))


def test_a_name_of_this_process_under_which_nothing_is_computed_is_gone() -> None:
    holder, other = Holder(), Holder()
    name, of_other = owner_name(holder), owner_name(other)
    holder.is_alive = False
    assert is_gone(name)
    del other  # as where an interrupt comes right after the claim
    gc.collect()
    assert is_gone(of_other)
    assert is_gone(owner_name())


def test_nothing_is_kept_of_leases_that_have_ended(tmp_path: Path) -> None:
    before = len(owner._holders)
    function = dynamo_cached(cache=Cache.sqlite(tmp_path / "cache.db"))(lambda x: x)
    assert [function(x) for x in range(20)] == list(range(20))
    assert len(owner._holders) == before


def test_who_has_just_read_a_row_that_was_ended_since_does_not_take_it_over() -> None:
    name = owner_name()
    settle(name)
    assert not is_gone(name)


def test_another_interpreter_of_this_process_is_not_gone() -> None:
    assert not is_gone(with_part(owner_name(), 3, "0123456789abcdef"))


def test_a_running_process_is_not_gone_and_an_ended_one_is() -> None:
    with another() as (process, name):
        assert not is_gone(name)
        process.communicate()
        assert is_gone(name)


@on_linux
def test_a_killed_process_is_gone_before_its_parent_has_noticed() -> None:
    with another() as (process, name):
        process.kill()
        until(lambda: is_gone(name))
        assert process.returncode is None


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system stops no process")
def test_a_stopped_process_is_not_gone() -> None:
    with another() as (process, name):
        process.send_signal(signal.SIGSTOP)
        assert not is_gone(name)
        process.send_signal(signal.SIGCONT)


@on_linux
def test_a_process_whose_id_another_one_has_got_is_gone() -> None:
    assert is_gone(with_part(owner_name(), 2, "1"))


def test_a_process_whose_start_is_not_known_counts_as_running_while_its_id_does() -> None:
    assert not is_gone(with_part(owner_name(), 2, ""))


def test_a_process_of_another_machine_is_never_known_to_be_gone() -> None:
    with another() as (process, name):
        process.communicate()
        assert not is_gone(with_part(name, 0, "0123456789abcdef"))


@pytest.mark.parametrize(
    "owner",
    [None, "", "somebody", "a/b/c/d", "{machine}/0/1/ff", "{machine}/-1/1/ff", "{machine}/99999999999999/1/ff"],
)
def test_what_is_no_name_of_ours_is_not_gone(owner: str | None) -> None:
    assert not is_gone(owner and owner.replace("{machine}", owner_name().split("/")[0]))


@can_fork
def test_a_forked_child_has_names_of_its_own() -> None:
    code = """
import os
from dynmemo.leases.owner import is_gone, owner_name
print(owner_name(), flush=True)
if os.fork() == 0:
    print(owner_name(), flush=True)
    os._exit(0)
os.wait()
print(owner_name())
"""
    parent, child, still_parent = printed("-c", code).split()
    assert parent.split("/")[:3] == still_parent.split("/")[:3]
    assert parent.split("/")[0] == child.split("/")[0]
    assert parent.split("/")[1] != child.split("/")[1]
    assert is_gone(child)


@pytest.fixture(params=[True, False], ids=["own proc", "proc of outside"])
def namespace(request: pytest.FixtureRequest) -> list[str]:
    """The command that runs another in a process namespace of its own."""
    unshare = shutil.which("unshare")
    command = [unshare or "unshare", "--pid", "--fork", *(["--mount-proc"] if request.param else [])]
    if unshare is None or subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a process namespace")
    return command


@on_linux
def test_in_another_process_namespace_nobody_of_outside_is_known(namespace: list[str]) -> None:
    code = """
import sys
from dynmemo.leases.owner import is_gone, owner_name
name = owner_name()
process, _, _ = name.rpartition("/")  # of another interpreter in it
print(name, is_gone(sys.argv[1]), is_gone(process + "/0123456789abcdef"))
"""
    with another() as (process, name):
        process.communicate()
        command = [*namespace, sys.executable, "-c", code, name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    inside, outsider_gone, self_gone = done.stdout.split()
    assert inside.split("/")[0] != owner_name().split("/")[0]
    assert (outsider_gone, self_gone) == ("False", "False")
    assert not is_gone(inside)


@on_linux
def test_processes_of_a_namespace_know_each_other_only_if_their_proc_shows_them(namespace: list[str]) -> None:
    code = f"""
import subprocess, sys
from dynmemo.leases.owner import is_gone
child = subprocess.run([sys.executable, "-c", {TELL!r}], input="", capture_output=True, text=True)
print(is_gone(child.stdout.strip()))
"""
    done = subprocess.run([*namespace, sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str("--mount-proc" in namespace)
