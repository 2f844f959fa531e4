"""Files as torch wrote them before 1.6, made by Python's own pickle, for tests without torch."""

import io
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from unittest import mock

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
MACHINE = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


def _torch() -> tuple[Any, dict[str, type]]:
    """The function and the classes that torch's pickles name, in modules of its names."""

    def _rebuild_tensor_v2(*arguments: Any) -> Any:
        raise AssertionError("it must never be called")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    classes = {name: type(name, (), {"__module__": "torch"}) for name in ("FloatStorage", "LongStorage", "HalfStorage")}
    return _rebuild_tensor_v2, classes


REBUILD, CLASSES = _torch()
TYPES = {"float32": "FloatStorage", "int64": "LongStorage", "float16": "HalfStorage"}


class Stored:
    """A tensor that is pickled as torch pickles one; `size`, `offset` and so on replace what is true of it."""

    def __init__(self, array: np.ndarray, **changes: Any) -> None:
        true = {"offset": 0, "size": array.shape, "stride": tuple(step // array.itemsize for step in array.strides)}
        self.array, self.values = array, {"key": str(id(self)), "count": array.size, **true, **changes}
        self.bytes = array.tobytes()

    def __reduce__(self) -> Any:
        values = self.values
        return REBUILD, (_Storage(self), values["offset"], values["size"], values["stride"], False, OrderedDict())


class _Storage:
    def __init__(self, stored: Stored) -> None:
        self.stored = stored


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, _Storage):
            return None
        stored = value.stored
        kind = CLASSES[TYPES[str(stored.array.dtype)]]
        return "storage", kind, stored.values["key"], "cpu", stored.values["count"], None


def pickled(*values: Any) -> bytes:
    """These, each in a pickle of protocol 2."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    vars(torch).update(CLASSES, _utils=utils)
    vars(utils)["_rebuild_tensor_v2"] = REBUILD
    out = io.BytesIO()
    with mock.patch.dict(sys.modules, {"torch": torch, "torch._utils": utils}):
        for value in values:
            _Pickler(out, protocol=2).dump(value)
    return out.getvalue()


def torch_file(
    tensors: Mapping[str, Any], magic: int = MAGIC, version: int = 1001, machine: Any = MACHINE, keys: Any = None
) -> bytes:
    """What `torch.save` made of named tensors."""
    stored = {name: Stored(value) if isinstance(value, np.ndarray) else value for name, value in tensors.items()}
    found = [each for each in stored.values() if isinstance(each, Stored)]
    named = [each.values["key"] for each in found] if keys is None else keys
    whole = OrderedDict(stored)
    vars(whole)["_metadata"] = OrderedDict({"": {"version": 1}})
    values = [each.values["count"].to_bytes(8, "little") + each.bytes for each in found]
    return pickled(magic, version, machine, whole, named) + b"".join(values)
