"""Reads the plain data inside a pickle without running it.

The original CIFAR-10 archive is made of pickles, and a pickle may call any function. Here its
opcodes are only parsed (`pickletools.genops`) and replayed on a stack of plain values: a global
stays a name, a call stays a record of what would have been called, and nothing is ever imported.
"""

from __future__ import annotations

import pickletools
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BYTEARRAY8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_INTEGER_TYPE = re.compile(r"[iu][1248]")


@dataclass
class Call:
    """A call that the pickle asks for and that is not made; `state` is what would be set on it."""

    function: str
    arguments: tuple[Any, ...]
    state: Any = None


@dataclass(frozen=True)
class Global:
    """The name of something that the pickle would import."""

    name: str


def parse_pickle(data: bytes) -> Any:
    """The value of a pickle, made of dict, list, tuple, str, bytes, numbers, `Global` and `Call`.

    Strings of Python 2 become str with one character per byte.

    Raises:
        ValueError: damaged, or uses opcodes that plain data and arrays do not need.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return stack.pop()
            _step(opcode.name, argument, stack, marks, memo)
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("its opcodes do not fit together") from error
    raise ValueError("it has no end")


def _step(
    name: str, argument: Any, stack: list[Any], marks: list[int], memo: dict[int, Any]
) -> None:
    if name in _VALUES:
        stack.append(argument)
    elif name in _CONSTANTS:
        stack.append(_CONSTANTS[name])
    elif name in _SHORT_TUPLES:
        count = _SHORT_TUPLES[name]
        stack[-count:] = [tuple(stack[-count:])]
    elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
        memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
    elif name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif name in ("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"):
        _record_call(name, argument, stack)
    elif name == "MARK":
        marks.append(len(stack))
    elif name not in ("PROTO", "FRAME"):
        _fill_container(name, stack, marks)


def _record_call(name: str, argument: Any, stack: list[Any]) -> None:
    if name == "GLOBAL":
        stack.append(Global(argument.replace(" ", ".")))
        return
    last = stack.pop()
    if name == "STACK_GLOBAL":
        stack.append(Global(f"{stack.pop()}.{last}"))
    elif name == "REDUCE":
        function = stack.pop().name
        # How the older protocols, which have no opcode for bytes, write them down.
        if function == "_codecs.encode":
            stack.append(last[0].encode("latin-1"))
        elif function == "__builtin__.bytes" and not last:
            stack.append(b"")
        elif isinstance(last, tuple):
            stack.append(Call(function, last))
        else:
            raise ValueError("it calls something without arguments")
    else:
        stack[-1].state = last


def _fill_container(name: str, stack: list[Any], marks: list[int]) -> None:
    if name in ("EMPTY_DICT", "EMPTY_LIST"):
        stack.append({} if name == "EMPTY_DICT" else [])
        return
    start = (
        len(stack) - {"APPEND": 1, "SETITEM": 2}[name]
        if name in ("APPEND", "SETITEM")
        else (marks.pop())
    )
    items = stack[start:]
    del stack[start:]
    if name in ("APPEND", "APPENDS"):
        stack[-1].extend(items)
    elif name in ("SETITEM", "SETITEMS"):
        stack[-1].update(zip(items[::2], items[1::2], strict=True))
    elif name == "TUPLE":
        stack.append(tuple(items))
    elif name == "LIST":
        stack.append(items)
    elif name == "DICT":
        stack.append(dict(zip(items[::2], items[1::2], strict=True)))
    else:
        raise ValueError(f"it uses the opcode {name}")


def as_array(value: Any) -> NDArray[np.integer]:
    """An integer array from a parsed pickle: a list of integers, or the record of a numpy array.

    Raises:
        ValueError: `value` is something else.
    """
    if isinstance(value, list):
        return np.array([_as_integer(item) for item in value], dtype=np.int64)
    match value:
        case Call(state=(_, tuple() as shape, Call() as dtype, bool() as fortran, raw)):
            order = "F" if fortran else "C"
        case Call(arguments=(raw, Call() as dtype, tuple() as shape, order)):
            pass
        case _:
            raise ValueError("it holds no array where one is expected")
    flat = np.frombuffer(_as_bytes(raw), dtype=_as_dtype(dtype))
    if not all(isinstance(side, int) and 0 <= side < 2**31 for side in shape):
        raise ValueError("it holds an array of an impossible shape")
    return flat.reshape(shape, order="F" if order == "F" else "C")


def as_text(value: Any) -> str:
    """A str from str or from ASCII bytes."""
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


def _as_integer(value: Any) -> int:
    match value:
        case Call(arguments=(dtype, raw)):  # a numpy scalar
            return int(np.frombuffer(_as_bytes(raw), _as_dtype(dtype)).item())
        case int() if abs(value) < 2**63:
            return value
    raise ValueError("it holds something else than whole numbers")


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("latin-1")
    if not isinstance(value, bytes | bytearray):
        raise ValueError("it holds no bytes where an array's content is expected")
    return bytes(value)


def _as_dtype(value: Any) -> np.dtype[np.integer]:
    match value:
        case Call(arguments=(name, *_), state=(_, byte_order, *_)):
            text = as_text(name)
            if _INTEGER_TYPE.fullmatch(text):
                return np.dtype(text).newbyteorder(">" if as_text(byte_order) == ">" else "<")
    raise ValueError("it holds an array of another type than whole numbers")
