"""Facts about code that has no source."""

from __future__ import annotations

import dis
import sys
import types
from typing import TYPE_CHECKING

import blake3

from dynmemo.keys.identity.facts import (
    BIND,
    ITEM,
    ITEM_CALL,
    Facts,
    Write,
    import_root,
    parameter_name,
    parameter_root,
)
from dynmemo.keys.identity.words import words
from dynmemo.keys.source import structure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynmemo.keys.identity.facts import (
        Chain,
    )

MUTATORS = words(
    "__delitem__ __setitem__ add append appendleft clear difference_update discard extend extendleft fill insert "
    "intersection_update move_to_end partition pop popitem popleft put put_nowait remove resize reverse rotate "
    "setdefault sort subtract symmetric_difference_update update"
)
"""Methods that may change what they are called on; whether they do is decided by its type."""
_ITEM_OF = "[]"


def bytecode_facts(code: types.CodeType) -> Facts:
    """The facts of a code object that has no source."""
    reader = _Reader()
    reader.read(code, frozenset(code.co_freevars), _parameters(code))
    minor = b"%d.%d:" % sys.version_info[:2]
    digest = blake3.blake3(b"bytecode:" + minor + structure(code).encode()).hexdigest(16)
    attributes = sorted({name for nested in _nested(code) for name in nested.co_names})
    return Facts(digest, False, tuple(sorted(reader.reads)), tuple(sorted(reader.writes)), tuple(attributes))


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            yield from _nested(value)


def _parameters(code: types.CodeType) -> frozenset[str]:
    return frozenset(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])


class _Reader:
    """Follows names and attributes over the stack, instruction by instruction and without jumps.

    Where the stack is not known the entries are None, so a chain may be missed after a jump
    but never made up.
    """

    def __init__(self) -> None:
        self.reads: set[Chain] = set()
        self.writes: set[Write] = set()

    def read(self, code: types.CodeType, outside: frozenset[str], parameters: frozenset[str]) -> None:
        """Read `code` and the code nested in it; `outside` are its variables of enclosing functions."""
        stack: list[Chain | None] = []
        constants: list[object] = []
        for instruction in dis.get_instructions(code):
            self._step(instruction, stack, constants, outside, parameters)
        for nested in code.co_consts:
            if isinstance(nested, types.CodeType):
                inside = frozenset(nested.co_freevars)
                self.read(nested, outside & inside, parameters & inside)

    def _step(
        self,
        instruction: dis.Instruction,
        stack: list[Chain | None],
        constants: list[object],
        outside: frozenset[str],
        parameters: frozenset[str],
    ) -> None:
        name, argument = instruction.opname, instruction.argval
        if instruction.is_jump_target:
            stack.clear()
        if name == "LOAD_CONST":
            constants.append(argument)
        before = list(stack)
        self._move(instruction, stack)
        if name in {"LOAD_GLOBAL", "LOAD_NAME"} or (name in _LOAD_CELLS and argument in outside):
            self._push(stack, (argument,))
            if name == "LOAD_GLOBAL" and (instruction.arg or 0) & 1:  # along with a NULL, which is for a call
                self.reads.add((argument, "__call__"))
        elif name in {"LOAD_FAST", "LOAD_FAST_CHECK", *_LOAD_CELLS} and argument in parameters:
            self._push(stack, (parameter_root(argument),))
        elif name in {"LOAD_ATTR", "LOAD_METHOD"}:
            self._attribute(str(argument), before, stack)
        elif name == "IMPORT_NAME":
            level = constants[-2] if len(constants) > 1 and isinstance(constants[-2], int) else 0
            self._push(stack, (import_root(level, str(argument)),))
        elif name == "IMPORT_FROM" and before and before[-1]:
            self._push(stack, (*before[-1], str(argument)))
        else:
            self._store(instruction, before, outside)

    def _push(self, stack: list[Chain | None], chain: Chain) -> None:
        if len(chain) > 1 or parameter_name(chain[0]) is None:
            self.reads.add(chain)
        if stack:
            stack[-1] = chain

    def _attribute(self, attribute: str, before: list[Chain | None], stack: list[Chain | None]) -> None:
        holder = before[-1] if before else None
        if holder is None:
            return
        if attribute in MUTATORS:
            item = holder[-1] == _ITEM_OF
            self.writes.add(Write(_plain(holder), ITEM_CALL + attribute if item else attribute))
        if holder[-1] != _ITEM_OF:
            self._push(stack, (*holder, attribute))

    def _store(self, instruction: dis.Instruction, before: list[Chain | None], outside: frozenset[str]) -> None:
        name, argument = instruction.opname, instruction.argval
        if name in {"STORE_GLOBAL", "DELETE_GLOBAL"} or (
            name in {"STORE_DEREF", "DELETE_DEREF"} and argument in outside
        ):
            self.writes.add(Write((str(argument),), BIND))
        elif name in {"STORE_ATTR", "DELETE_ATTR"} and before and before[-1] and before[-1][-1] != _ITEM_OF:
            self.writes.add(Write((*before[-1], str(argument)), BIND))
        elif name in {"STORE_SUBSCR", "DELETE_SUBSCR"} and len(before) > 1 and before[-2]:
            self.writes.add(Write(_plain(before[-2]), ITEM))
        elif name == "STORE_SLICE" and len(before) > 2 and before[-3]:
            self.writes.add(Write(_plain(before[-3]), ITEM))

    @staticmethod
    def _move(instruction: dis.Instruction, stack: list[Chain | None]) -> None:
        """What the instruction does to the stack, for those entries that stay known."""
        name, argument = instruction.opname, instruction.arg or 0
        if name == "COPY":
            stack.append(stack[-argument] if len(stack) >= argument else None)
        elif name == "SWAP":
            if len(stack) >= argument:
                stack[-1], stack[-argument] = stack[-argument], stack[-1]
            else:
                stack.clear()
        elif name == "BINARY_SUBSCR":
            holder = stack[-2] if len(stack) > 1 else None
            del stack[-2:]
            stack.append(None if holder is None else (*_plain(holder), _ITEM_OF))
        else:
            _shift(instruction, stack)


def _shift(instruction: dis.Instruction, stack: list[Chain | None]) -> None:
    """Any other instruction: what lies above the lowest entry that it may have touched is unknown."""
    effect = dis.stack_effect(instruction.opcode, instruction.arg, jump=False)
    if instruction.opname.startswith("LOAD_") and instruction.opname not in {"LOAD_ATTR", "LOAD_METHOD"}:
        stack.extend([None] * effect)
        return
    touched = _TOUCHED.get(instruction.opname, 0)
    size = len(stack) + effect
    keep = min(size, len(stack)) - touched
    del stack[max(keep, 0) :]
    stack.extend([None] * (max(size, 0) - len(stack)))


def _plain(chain: Chain) -> Chain:
    return chain[:-1] if chain[-1] == _ITEM_OF else chain


def _names(*names: str) -> Iterator[str]:
    yield from (name for name in names if name in dis.opmap)


_LOAD_CELLS = frozenset({"LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_CLOSURE", "LOAD_FROM_DICT_OR_DEREF"})
# Entries below the change of depth that an instruction replaces; calls and operators replace their result's place.
_TOUCHED = dict.fromkeys(
    (
        name
        for name in dis.opmap
        if name.startswith(("BINARY_", "CALL", "COMPARE_", "UNARY_", "IMPORT_", "GET_", "FORMAT_"))
    ),
    1,
)
_TOUCHED.update(
    dict.fromkeys(_names("LOAD_ATTR", "LOAD_METHOD", "BUILD_MAP", "IS_OP", "CONTAINS_OP", "LIST_APPEND"), 1)
)
