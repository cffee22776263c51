"""What a cell shows: recorded in one list, in the order in which it came, and shown again.

Each output is a dict as in a notebook file: ``stream``, ``display_data`` or ``execute_result``.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Output = dict[str, Any]

MOST_BYTES = 1_000_000
"""Of what a cell shows, as much is kept."""

WIDGET = "application/vnd.jupyter.widget-view+json"


class Recorder:
    """Records what is shown while it goes on to the notebook."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._outputs: list[Output | _Text] = []
        self._size = 0
        self._clears_next = False
        self._writes_by_itself = False
        """What is written now is the way in which something else is shown, as in a terminal."""

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Within this block."""
        publisher, hook = self._shell.display_pub, self._shell.displayhook
        with ExitStack() as stack:
            for name in ("stdout", "stderr"):
                stack.enter_context(self._tapped(getattr(sys, name), "write", self._stream(name)))
            stack.enter_context(self._tapped(publisher, "publish", self._published, writes=True))
            stack.enter_context(self._tapped(publisher, "clear_output", self._cleared, writes=True))
            for name in ("write_output_prompt", "write_format_data", "finish_displayhook"):
                stack.enter_context(self._tapped(hook, name, lambda *_, **__: None, writes=True))
            stack.enter_context(self._tapped(hook, "compute_format_data", self._result, with_answer=True))
            yield
            _flush_plots()

    def outputs(self) -> list[Output]:
        """What was shown."""
        kept = [one.output() if isinstance(one, _Text) else _without_id(one) for one in self._outputs]
        if self._size > MOST_BYTES:
            kept.append(_stream("stderr", f"... what was shown beyond {MOST_BYTES:,} bytes is not kept\n"))
        return kept

    @property
    def has_widgets(self) -> bool:
        """Whether something was shown that lives in the kernel."""
        return any(WIDGET in one["data"] for one in self._outputs if not isinstance(one, _Text))

    @contextmanager
    def _tapped(
        self, target: Any, name: str, tell: Callable[..., None], *, writes: bool = False, with_answer: bool = False
    ) -> Iterator[None]:
        """Within this block `tell` hears of every call of a method, which goes on as before and may write by itself."""
        method = getattr(target, name)
        own = getattr(target, "__dict__", {}).get(name)

        def tap(*args: Any, **kwargs: Any) -> Any:
            before = self._writes_by_itself
            self._writes_by_itself = before or writes
            try:
                answer = method(*args, **kwargs)
            finally:
                self._writes_by_itself = before
            if not before:
                with suppress(Exception):  # what cannot be recorded is shown all the same
                    tell(*((answer,) if with_answer else ()), *args, **kwargs)
            return answer

        try:
            setattr(target, name, tap)
        except (AttributeError, TypeError):  # somebody's stream that lets nobody listen
            yield
            return
        try:
            yield
        finally:
            if own is None:
                delattr(target, name)
            else:
                setattr(target, name, own)

    def _add(self, output: Output | _Text, size: int) -> None:
        if self._clears_next:
            self._cleared()
        self._size += size
        if self._size <= MOST_BYTES:
            self._outputs.append(output)

    def _stream(self, name: str) -> Callable[[str], None]:
        def write(text: str) -> None:
            last = None if self._clears_next or not self._outputs else self._outputs[-1]
            if not isinstance(last, _Text) or last.name != name:
                last = _Text(name)
                self._add(last, 0)
            if self._size <= MOST_BYTES:
                self._size += last.write(text)

        return write

    def _published(self, data: Any, metadata: Any = None, *_: Any, transient: Any = None, **more: Any) -> None:
        display_id = (transient or {}).get("display_id")
        output = {"output_type": "display_data", "data": dict(data), "metadata": dict(metadata or {})}
        if not more.get("update"):
            self._add({**output, "display_id": display_id}, _size(output))
            return
        for one in self._outputs:
            if not isinstance(one, _Text) and display_id and one.get("display_id") == display_id:
                self._size += _size(output) - _size(one)
                one.update(output)

    def _cleared(self, wait: bool = False) -> None:
        self._clears_next = wait
        if not wait:
            self._outputs.clear()
            self._size = 0

    def _result(self, answer: Any, value: Any) -> None:
        data, metadata = answer
        output = {"output_type": "execute_result", "data": dict(data), "metadata": dict(metadata or {}), "value": value}
        self._add(output, _size(output))


class _Text:
    """What comes in one stream, as a terminal leaves it: a carriage return goes back to the begin of its line."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._above: list[str] = []
        self._line = ""

    def write(self, text: str) -> int:
        """Add text; how many characters more are kept now."""
        before = len(self._line)
        *above, line = (self._line + text).split("\n")
        done = "".join(f"{_overlaid(one)}\n" for one in above)
        covered, back, now = line.rpartition("\r")
        self._line = f"{_overlaid(covered)}{back}{now}"
        self._above.append(done)
        return len(done) + len(self._line) - before

    def output(self) -> Output:
        return _stream(self.name, "".join((*self._above, _overlaid(self._line))))


def _overlaid(line: str) -> str:
    shown = ""
    for part in line.split("\r"):
        shown = part + shown[len(part) :]
    return shown


def _stream(name: str, text: str) -> Output:
    return {"output_type": "stream", "name": name, "text": text}


def _without_id(output: Output) -> Output:
    return {name: value for name, value in output.items() if name != "display_id"}


def _size(output: Output) -> int:
    return sum(
        len(value) if isinstance(value, str | bytes) else len(json.dumps(value, default=str))
        for value in output["data"].values()
    )


def _flush_plots() -> None:
    """Show the open plots now, as the notebook does behind the cell."""
    inline = sys.modules.get("matplotlib_inline.backend_inline")
    if inline is not None and "inline" in sys.modules["matplotlib"].get_backend():
        inline.flush_figures()


# -- showing it again ----------------------------------------------------------------------------------------------


def replay(shell: Any, outputs: list[Output]) -> None:
    """Show what was recorded."""
    for output in outputs:
        if output["output_type"] == "stream":
            stream = getattr(sys, output["name"])
            stream.write(output["text"])
            stream.flush()  # else the two streams come in an order of their own
        elif output["output_type"] == "display_data":
            shell.display_pub.publish(data=output["data"], metadata=output["metadata"])
        else:
            _show_result(shell.displayhook, output)


def _show_result(hook: Any, output: Output) -> None:
    """As the hook shows a value, with the forms that were recorded."""
    hook.check_for_underscore()
    hook.start_displayhook()
    hook.write_output_prompt()
    if "value" in output:
        hook.update_user_ns(output["value"])
        hook.fill_exec_result(output["value"])
    if output["data"]:
        hook.write_format_data(output["data"], output["metadata"])
    hook.finish_displayhook()
