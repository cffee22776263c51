"""What becomes of a cell: it runs and what it did is stored, or what it did elsewhere is done again."""

from __future__ import annotations

import ast
import io
import sys
from contextlib import closing, redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from dynmemo import views
from dynmemo._process import logger
from dynmemo.calls.memo import Computation, Memo, value_of
from dynmemo.calls.miss import Compute
from dynmemo.codec import CannotSerialize, Decoded, Own, origin_told
from dynmemo.codec.serializers import dump_pickle
from dynmemo.entries import Computed
from dynmemo.errors import StoreUnavailableError
from dynmemo.keys.places import MISSING, place_of, token
from dynmemo.magics.outputs import Recorder, replay
from dynmemo.magics.ties import lost, state_of
from dynmemo.origin import read_origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dynmemo.calls import Options
    from dynmemo.counters import CacheInfo
    from dynmemo.magics.cell import Cell

_PLOTS = b"matplotlib."


class Told(NamedTuple):
    """What became of a cell."""

    info: CacheInfo
    hit: str
    """When and where it was computed and what that saved, in one line; empty if it was computed now."""


class Run:
    """One run of a cell.

    Args:
        shell: of IPython.
        cell: the cell.
        file: the name of the file that tracebacks give it.
        options: its `Options`.
    """

    def __init__(self, shell: Any, cell: Cell, file: str, options: Options) -> None:
        self._shell = shell
        self._globals: dict[str, Any] = shell.user_ns
        self._cell = cell
        self._file = file
        self._made: dict[str, tuple[object, dict[str, bytes]]] = {}
        """Its functions and classes as they were where they stand."""
        # A new one each time: what an earlier run of the cell changed counts as any other change does.
        self._memo = Memo(cell.function, options)

    def play(self, *, tells: bool = False) -> Told:
        """Look the cell up, and run it or do again what it did; `tells` asks the store for what a hit says.

        Raises:
            UnhashableArgumentError: an input has no stable content.
        """
        memo = self._memo
        key = memo.key((), {}) if self._cell.has_classes or tells else ""
        found, story = memo.call((), {})
        if story is not None:
            with closing(story):
                outcome = memo.go_on(story)
                while isinstance(outcome, Compute):
                    outcome = memo.go_on(story, self._computed())
            if isinstance(outcome, Computed):
                return Told(memo.stats.info(), "")
            value_of(outcome)  # raises what the cell raised
            found = outcome
        if not isinstance(found, Decoded):
            raise AssertionError("neither found nor computed")
        is_done = self._do_again(found.value, key)
        return Told(memo.stats.info(), self._about(found, key) if is_done and tells else "")

    # -- computing --------------------------------------------------------------------------------

    def _computed(self) -> Any:
        """Run the cell; what came of it."""
        reason = ""
        with Computation(self._memo, (), {}) as computation:
            before = {name: self._globals[name] for name in self._cell.bound if name in self._globals}
            recorder = Recorder(self._shell)
            with recorder.recording():
                self._execute(self._cell.statements)
            try:
                reason, rebound = self._not_stored(recorder, before)
                if not reason:
                    bound = self._kept(rebound)
                    reason = lost(bound, self._globals)
                    computation.value = None if reason else self._record(recorder, bound)
            except Exception as error:  # noqa: BLE001 - objects may do anything when looked at, and the cell has run
                reason = f"to look at what it made raised {type(error).__name__}"
        outcome = computation.outcome
        # What else was noticed is that names are bound anew, which is what a cell is for.
        return replace(outcome, not_stored=reason) if isinstance(outcome, Computed) else outcome

    def _execute(self, statements: Iterable[ast.stmt]) -> None:
        for statement in statements:
            shown = statement in self._cell.shown
            tree = ast.Interactive([statement]) if shown else ast.Module([statement], [])
            code = self._shell.compile(tree, self._file, "single" if shown else "exec")
            exec(code, self._shell.user_global_ns, self._globals)  # noqa: S102 - the user's cell
            if isinstance(statement, ast.FunctionDef | ast.ClassDef):
                made = self._globals.get(statement.name)
                with suppress(Exception):  # it looks at what may be anything
                    self._made[statement.name] = made, state_of(made)

    def _not_stored(self, recorder: Recorder, before: Mapping[str, Any]) -> tuple[str, set[str]]:
        """Why what the cell did must not be stored, empty if it may; and the inputs that it has bound anew."""
        missing = [name for name in self._cell.names if name not in self._globals or name not in self._cell.bound]
        if missing:
            return f"it did not assign {_quoted(missing)}", set()
        if self._cell.unsettled:
            names = _quoted(sorted(self._cell.unsettled))
            return f"its functions and classes need {names} as it was where they stand; bind it in another cell", set()
        used = [name for name, (made, state) in self._made.items() if state_of(made) != state]
        if used:
            return f"it changed its own {_quoted(used)}, which a hit makes anew; do that in another cell", set()
        changed, rebound = self._changed(before)
        if changed:
            advice = "let it work on a copy, or make that in the same cell"
            return f"it changed its input {_quoted(sorted(changed))}; {advice}", rebound
        if recorder.has_widgets or any(_is_widget(self._globals[name]) for name in self._cell.names):
            return "it shows a live widget, which no other kernel can show again", rebound
        return self._memo.identity.not_stored(), rebound

    def _changed(self, before: Mapping[str, Any]) -> tuple[set[str], set[str]]:
        """The inputs that are others now, and those that have another value while the one from before is as it was."""
        changed, rebound = set[str](), set[str]()
        for place, name, token_before in self._memo.identity.changed():
            if place.holder is not self._globals or place.name not in self._cell.bound:
                changed.add(name)
            elif place.name in before:  # else it came with the cell
                was, now = before[place.name], self._globals.get(place.name, MISSING)
                is_as_it_was = now is not MISSING and now is not was and token(place_of(was)) == token_before
                (rebound if is_as_it_was else changed).add(place.name)
        return changed, rebound

    def _kept(self, rebound: set[str]) -> dict[str, Any]:
        names = self._cell.assigned & {*self._cell.names, *rebound, *self._cell.needed}
        return {name: self._globals[name] for name in sorted(names) if name in self._globals}

    def _record(self, recorder: Recorder, bound: dict[str, Any]) -> dict[str, Any]:
        outputs = recorder.outputs()
        for output in outputs:
            if "value" in output and not self._may_be_kept(output["value"], bound.values()):
                del output["value"]
        return {"names": bound, "outputs": outputs}

    def _may_be_kept(self, value: object, kept: Iterable[object]) -> bool:
        """Whether the value of a last expression is stored: not what cannot be, nor plots, whose pictures are."""
        if any(value is one for one in kept):
            return True
        if lost({"_": value}, self._globals):
            return False
        try:
            pieces, _ = dump_pickle(value, Own(self._globals))
        except CannotSerialize:
            return False
        return not _is_widget(value) and not any(_PLOTS in bytes(piece) for piece in pieces[:2])

    # -- doing again ------------------------------------------------------------------------------

    def _do_again(self, record: Any, key: str) -> bool:
        """Do what the cell did; False if that took all of it to run."""
        before = {name: self._globals[name] for name in record["names"] if name in self._globals}
        self._globals.update(record["names"])
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                self._execute(self._cell.definitions)
        except Exception as error:  # noqa: BLE001 - they may need what the cell did before them
            message = "%s(): its imports, functions and classes raised %s without the rest of it, so all of it runs"
            logger.warning(message, self._memo.name, type(error).__name__)
            for name in record["names"]:
                self._globals.pop(name, None)
            self._globals.update(before)
            self._execute(self._cell.statements)
            return False
        if self._cell.has_classes:  # now that they are there, instances are read as theirs
            entry = self._memo.entries().entry(key)
            record = record if entry is None else entry.value
        self._globals.update(record["names"])
        replay(self._shell, record["outputs"])
        return True

    def _about(self, found: Decoded, key: str) -> str:
        when = f"{datetime.fromtimestamp(int(found.computed_at), UTC):%Y-%m-%d %H:%M:%S} UTC"
        store, by = self._memo.entries().store, ""
        with suppress(StoreUnavailableError):  # the hit is there
            row = store.read(key)
            origin = None if row is None or row.value is None else read_origin(origin_told(row.value))
            by = "" if origin is None else f" by {origin.who}"
        return f"computed {when}{by}, kept in {store.location}, {views.duration(found.seconds)} saved"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _is_widget(value: object) -> bool:
    module = sys.modules.get("ipywidgets")
    return module is not None and isinstance(value, module.Widget)


def frames_of(file: str, error: BaseException) -> Iterator[Any]:
    """The tracebacks of `error` from the first frame on that runs code of `file`."""
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == file:
            yield traceback
        traceback = traceback.tb_next
