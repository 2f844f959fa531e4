"""Tensors from a file of torch's first format (`torch.save` before version 1.6), without torch.

Such a file is five pickles (a number that marks it, the format's version, facts of the machine, the tensors by name,
the keys of their storages) and then the values of each storage. A pickle is a program, and this one is not run: its
instructions are read one by one, those that write down names, numbers and tensors are followed, and any other is
refused.
"""

import io
import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import PermanentError, shortened
from lib.files import read_regular

MAGIC = 0x1950A86A20F9469CFC6C
START = b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."
"""How such a file begins."""
FORMAT_VERSION = 1001
LARGEST_BYTES = 1_000_000_000
MOST_INSTRUCTIONS = 1_000_000
MOST_DIMENSIONS = 8
COUNT_BYTES = 8
ORDERED_DICT, TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
DTYPES: dict[str, np.dtype] = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}
PLAIN = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


@dataclass(frozen=True)
class _Name:
    """What a pickle names of a module. It is never looked up."""

    name: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    order: tuple[int, ...]
    """Its axes, from the one along which values lie furthest apart."""


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """Name → tensor, read-only. Raises PermanentError where the file holds anything else, or not all of it."""
    data = read_regular(path, LARGEST_BYTES)
    try:
        return _read(data)
    except (ValueError, LookupError) as error:
        raise PermanentError(
            f"weights must be a whole file of tensors as torch wrote them before 1.6; received {path.name}: "
            f"{shortened(str(error))}"
        ) from error


def _read(data: bytes) -> dict[str, np.ndarray]:
    stream = io.BytesIO(data)
    magic, version, machine, tensors, keys = (_Pickle(stream).value() for _ in range(5))
    if (magic, version) != (MAGIC, FORMAT_VERSION) or not isinstance(machine, dict):
        raise ValueError("it is of another format")
    if machine.get("little_endian") is not True:
        raise ValueError("its numbers are not little-endian")
    if not isinstance(tensors, dict) or not all(isinstance(each, _Tensor) for each in tensors.values()):
        raise ValueError("it must hold tensors by name, and nothing else")
    named = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(named):
        raise ValueError("its storages must be those of its tensors")
    values = {key: _values(data, stream, named[key]) for key in keys}
    if stream.tell() != len(data):
        raise ValueError(f"{len(data) - stream.tell():,} bytes lie after its end")
    return {name: _array(tensor, values) for name, tensor in tensors.items()}


def _values(data: bytes, stream: io.BytesIO, storage: _Storage) -> np.ndarray:
    """The values of a storage, which begin with their number, as a view of `data`."""
    count, start = int.from_bytes(stream.read(COUNT_BYTES), "little"), stream.tell()
    end = start + count * storage.dtype.itemsize
    if count != storage.count or end > len(data):
        raise ValueError(f"a storage must have {storage.count:,} values; {count:,} are promised")
    stream.seek(end)
    return np.frombuffer(data, storage.dtype, count, start)


def _array(tensor: _Tensor, values: dict[str, np.ndarray]) -> np.ndarray:
    count, storage = math.prod(tensor.shape), values[tensor.storage.key]
    if tensor.offset + count > len(storage) or storage.dtype != tensor.storage.dtype:
        raise ValueError("a tensor must lie within its storage")
    sides = [tensor.shape[axis] for axis in tensor.order]
    return storage[tensor.offset : tensor.offset + count].reshape(sides).transpose(np.argsort(tensor.order))


class _Pickle:
    """The next pickle of a stream, as far as it says names, numbers and tensors."""

    def __init__(self, stream: io.BytesIO) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.stream = stream

    def value(self) -> Any:
        for number, (instruction, argument, _) in enumerate(pickletools.genops(self.stream)):
            name = instruction.name
            if number > MOST_INSTRUCTIONS:
                raise ValueError("it has too many instructions")
            if name == "STOP":
                return self.stack.pop()
            if name in PLAIN:
                self.stack.append(argument)
            elif name in CONSTANTS:
                self.stack.append(CONSTANTS[name])
            elif follow := FOLLOWED.get(name):
                follow(self, argument)
            else:
                raise ValueError(f"it must hold tensors alone; it has the instruction {name}")
        raise ValueError("it has no end")

    def marked(self) -> list[Any]:
        """What was put on the stack since the last mark."""
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def popped(self, kind: type) -> Any:
        value = self.stack.pop()
        if not isinstance(value, kind):
            raise ValueError(f"a {kind.__name__} must stand where a {type(value).__name__} does")
        return value

    def top(self, kind: type) -> Any:
        self.stack.append(self.popped(kind))
        return self.stack[-1]


def _named(pickle: _Pickle, name: str) -> None:
    if name not in {ORDERED_DICT, TENSOR, *DTYPES}:
        raise ValueError(f"it must hold tensors alone; it names {shortened(name)}")
    pickle.stack.append(_Name(name))


def _called(pickle: _Pickle, argument: None) -> None:
    """A call of what was named: an empty dictionary, or a tensor."""
    arguments, name = pickle.popped(tuple), pickle.popped(_Name).name
    if name == ORDERED_DICT and not arguments:
        pickle.stack.append({})
    elif name == TENSOR and len(arguments) >= 4 and isinstance(arguments[0], _Storage):
        pickle.stack.append(_tensor(*arguments[:4]))
    else:
        raise ValueError(f"it must hold tensors alone; it calls {name}")


def _tensor(storage: _Storage, offset: Any, shape: Any, strides: Any) -> _Tensor:
    for numbers in ((offset,), shape, strides):
        _check_numbers(numbers)
    if len(strides) != len(shape):
        raise ValueError("a tensor must have a stride for each side")
    order = sorted(range(len(shape)), key=strides.__getitem__, reverse=True)
    sides = [shape[axis] for axis in order]
    for place, axis in enumerate(order):
        # Others could make a large array of few values. Of a side of length 1 the stride says nothing.
        if shape[axis] > 1 and strides[axis] != math.prod(sides[place + 1 :]):
            raise ValueError("the values of a tensor must lie side by side")
    return _Tensor(storage, offset, shape, tuple(order))


def _storage(pickle: _Pickle, argument: None) -> None:
    """What torch keeps outside the pickle: `("storage", its type, key, device, values, None)`."""
    match pickle.popped(tuple):
        case ("storage", _Name(name), str(key), str(), int(count), None) if name in DTYPES:
            _check_numbers((count,))
            pickle.stack.append(_Storage(key, DTYPES[name], count))
        case _:
            raise ValueError("it must keep storages of float32 or int64 outside its pickle, and nothing else")


def _check_numbers(values: Any) -> None:
    if not isinstance(values, tuple) or len(values) > MOST_DIMENSIONS:
        raise ValueError(f"a tensor must have at most {MOST_DIMENSIONS} sides")
    if not all(type(value) is int and 0 <= value <= LARGEST_BYTES for value in values):
        raise ValueError("sizes and offsets must be whole numbers of at least 0")


def _set(pickle: _Pickle, pairs: list[Any]) -> None:
    target, keys = pickle.top(dict), pairs[::2]
    if len(pairs) % 2 or not all(isinstance(key, str) for key in keys):
        raise ValueError("keys must be text, each with a value")
    target.update(zip(keys, pairs[1::2], strict=True))


def _extended(pickle: _Pickle, values: list[Any]) -> None:
    pickle.top(list).extend(values)


def _tuple(pickle: _Pickle, values: list[Any]) -> None:
    pickle.stack.append(tuple(values))


FOLLOWED: dict[str, Callable[[_Pickle, Any], object]] = {
    "PROTO": lambda pickle, version: None,
    "MARK": lambda pickle, _: pickle.marks.append(len(pickle.stack)),
    "BINPUT": lambda pickle, place: pickle.memo.__setitem__(place, pickle.stack[-1]),
    "LONG_BINPUT": lambda pickle, place: pickle.memo.__setitem__(place, pickle.stack[-1]),
    "BINGET": lambda pickle, place: pickle.stack.append(pickle.memo[place]),
    "LONG_BINGET": lambda pickle, place: pickle.stack.append(pickle.memo[place]),
    "EMPTY_DICT": lambda pickle, _: pickle.stack.append({}),
    "EMPTY_LIST": lambda pickle, _: pickle.stack.append([]),
    "TUPLE": lambda pickle, _: _tuple(pickle, pickle.marked()),
    "TUPLE1": lambda pickle, _: _tuple(pickle, [pickle.stack.pop()]),
    "TUPLE2": lambda pickle, _: _tuple(pickle, [pickle.stack.pop() for _ in range(2)][::-1]),
    "TUPLE3": lambda pickle, _: _tuple(pickle, [pickle.stack.pop() for _ in range(3)][::-1]),
    "APPEND": lambda pickle, _: _extended(pickle, [pickle.stack.pop()]),
    "APPENDS": lambda pickle, _: _extended(pickle, pickle.marked()),
    "SETITEM": lambda pickle, _: _set(pickle, [pickle.stack.pop() for _ in range(2)][::-1]),
    "SETITEMS": lambda pickle, _: _set(pickle, pickle.marked()),
    "GLOBAL": _named,
    "REDUCE": _called,
    "BINPERSID": _storage,
    "BUILD": lambda pickle, _: pickle.stack.pop(),  # versions of modules, beside the tensors
}
"""The instructions that such a file needs; those of PLAIN and CONSTANTS put their value on the stack."""
