"""Files of torch are read to the last value, and whatever else lies in one is refused on one line and never run."""

import os
import pickle
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib.errors import PermanentError
from lib.models import torch_files
from lib.models.torch_files import START, read_torch
from tests.torch_writer import MACHINE, MAGIC, Stored, pickled, torch_file

SIX = np.arange(6, dtype=np.float32).reshape(2, 3)
WHOLE = torch_file({"a.weight": SIX, "a.count": np.array(7)})


def read(tmp_path: Path, data: bytes) -> dict[str, np.ndarray]:
    file = tmp_path / "made.pth"
    file.write_bytes(data)
    return read_torch(file)


def test_tensors_are_read_by_name_with_shape_type_and_values(tmp_path: Path) -> None:
    found = read(tmp_path, WHOLE)
    assert list(found) == ["a.weight", "a.count"]
    assert found["a.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (found["a.weight"].dtype, found["a.count"].dtype) == (np.float32, np.int64)
    assert (found["a.count"].shape, int(found["a.count"])) == ((), 7)
    assert WHOLE.startswith(START)


def test_a_tensor_whose_values_lie_in_another_order_of_axes_is_turned_back(tmp_path: Path) -> None:
    # As TensorFlow keeps a kernel (height, width, in, out), and torch shows it as (out, in, height, width).
    kernel = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    stored = Stored(kernel, size=(5, 4, 2, 3), stride=(1, 5, 60, 20))
    assert np.array_equal(read(tmp_path, torch_file({"w": stored}))["w"], kernel.transpose(3, 2, 0, 1))


def test_a_tensor_may_be_a_part_of_its_storage(tmp_path: Path) -> None:
    part = Stored(SIX, size=(2,), stride=(1,), offset=3)
    assert read(tmp_path, torch_file({"w": part}))["w"].tolist() == [3, 4]


class Runs:
    """What a pickle calls as it is loaded."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


RAN = Path("/tmp") / f"ran-{os.getpid()}"
SYSTEM = pickle.dumps(Runs(os.system, f"touch {RAN}"), protocol=2)
EVAL = pickle.dumps(Runs(eval, f"open({str(RAN)!r}, 'w')"), protocol=2)
HEAD, NO_KEYS = pickled(MAGIC, 1001, MACHINE), pickled([])
RULE = "weights must be a whole file of tensors as torch wrote them before 1.6; received made.pth: "
NO_TENSORS, NO_SIZE = "hold tensors by name, and nothing", "sizes and offsets must be whole"
NO_STORAGES = "its storages must be those of its tensors"


def bomb() -> bytes:
    """Lists of lists, twice as many values with each instruction, were they ever counted."""
    return b"\x80\x02]q\x00" + b"".join(b"]q" + bytes([n + 1]) + b"(h%ch%ce" % (n, n) for n in range(99)) + b"."


HOSTILE = {
    "a call of os.system": (HEAD + SYSTEM, "it names posix system"),
    "a call of eval in the tensors' place": (HEAD + EVAL + NO_KEYS, "it names __builtin__ eval"),
    "a call before the magic number": (SYSTEM + WHOLE, "it names posix system"),
    "a call among the keys": (torch_file({}, keys=Runs(os.system, "true")), "it names posix system"),
    "a call as a tensor's name": (torch_file({"w": Runs(os.system, "true")}), "it names posix system"),
    "a name by STACK_GLOBAL": (HEAD + b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "SHORT_BINUNICODE"),
    "an object by NEWOBJ": (HEAD + b"\x80\x02ccollections\nOrderedDict\n)\x81.", "it has the instruction NEWOBJ"),
    "an instance by INST": (HEAD + b"(S'true'\nios\nsystem\n.", "it has the instruction STRING"),
    "an extension": (HEAD + b"\x80\x02\x82\x01.", "it has the instruction EXT1"),
    "a dictionary made of values": (HEAD + b"\x80\x02ccollections\nOrderedDict\n]\x85R.", "it calls coll"),
    "a tensor of no storage": (HEAD + b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x00K\x00))tR.", "it calls torch"),
    "an attribute set on a class": (HEAD + b"\x80\x02ccollections\nOrderedDict\n}b." + NO_KEYS, NO_TENSORS),
    "a storage that is a call": (HEAD + b"\x80\x02(X\x07\x00\x00\x00storagecos\nsystem\ntQ.", "it names os system"),
    "a storage of objects": (HEAD + b"\x80\x02K\x07\x85Q.", "storages of float32 or int64"),
    "half numbers": (torch_file({"w": SIX.astype(np.float16)}), "it names torch HalfStorage"),
    "text in place of a tensor": (torch_file({"w": "text"}), NO_TENSORS),
    "no tensors by name": (HEAD + pickled({"a": [1]}, []), NO_TENSORS),
    "another magic number": (torch_file({"w": SIX}, magic=7), "it is of another format"),
    "another version": (torch_file({"w": SIX}, version=1002), "it is of another format"),
    "another order of bytes": (torch_file({"w": SIX}, machine={"little_endian": False}), "are not little-endian"),
    "no facts of the machine": (torch_file({"w": SIX}, machine=[]), "it is of another format"),
    "a tensor beyond its storage": (torch_file({"w": Stored(SIX, offset=1)}), "must lie within its storage"),
    "a terabyte of one value": (torch_file({"w": Stored(SIX, size=(2**20, 2**20), stride=(0, 0))}), "lie side by side"),
    "a size of 2^70": (torch_file({"w": Stored(SIX, size=(2**70,), stride=(1,))}), NO_SIZE),
    "a size below 0": (torch_file({"w": Stored(SIX, size=(-1,), stride=(1,))}), NO_SIZE),
    "a size that is true": (torch_file({"w": Stored(SIX, size=(True,), stride=(1,))}), NO_SIZE),
    "an offset below 0": (torch_file({"w": Stored(SIX, offset=-1)}), NO_SIZE),
    "more strides than sides": (torch_file({"w": Stored(SIX, stride=(3, 1, 1))}), "a stride for each side"),
    "a thousand sides": (torch_file({"w": Stored(SIX, size=(1,) * 1000, stride=(1,) * 1000)}), "at most 8 sides"),
    "a storage that promises more": (torch_file({"w": Stored(SIX, count=10**9)}), "a storage must have 1,000,000,000"),
    "keys of other storages": (torch_file({"w": SIX}, keys=["x"]), NO_STORAGES),
    "a key too few": (torch_file({"w": SIX}, keys=[]), NO_STORAGES),
    "keys that are none": (torch_file({"w": Stored(SIX, key="[]")}, keys=[[]]), NO_STORAGES),
    "something after its end": (WHOLE + b"x", "1 bytes lie after its end"),
    "nothing": (b"", "pickle exhausted before seeing STOP"),
    "text": (b"<html>not found</html>", "at position 0, opcode b'<' unknown"),
    "zeros": (bytes(1000), "unknown"),
    "a place in the memo that is empty": (HEAD + b"\x80\x02h\x07.", "7"),
    "a place in the memo of 4 billion": (HEAD + b"\x80\x02]r\xff\xff\xff\xff." + NO_KEYS, NO_TENSORS),
    "a text of 8 EB": (HEAD + b"\x80\x04\x8d" + struct.pack("<Q", 2**63 - 1) + b"x.", "expected 9223372036854775807 b"),
    "an empty stack": (HEAD + b"\x80\x02R.", "pop from empty list"),
    "a value without a key": (HEAD + b"\x80\x02}(K\x01u.", "keys must be text, each with a value"),
    "values for no dictionary": (HEAD + b"\x80\x02K\x01K\x01K\x01s.", "a dict must stand where a int does"),
    "a bomb of lists": (HEAD + bomb() + NO_KEYS, NO_TENSORS),
    "a tuple 100,000 deep": (HEAD + b"\x80\x02)" + b"\x85" * 100_000 + b"." + NO_KEYS, NO_TENSORS),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_file_of_tensors_is_refused_at_once_and_nothing_of_it_runs(name: str, tmp_path: Path) -> None:
    data, says = HOSTILE[name]
    started = time.process_time()
    with pytest.raises(PermanentError) as caught:
        read(tmp_path, data)
    said = str(caught.value)
    assert said.startswith(
        "weights must be a whole file of tensors as torch wrote them before 1.6; received made.pth: "
    )
    assert says in said
    assert "\n" not in said
    assert len(said) < 300
    assert time.process_time() - started < 1
    assert not RAN.exists()


def test_a_file_that_was_cut_anywhere_is_refused(tmp_path: Path) -> None:
    for length in range(len(WHOLE)):
        with pytest.raises(PermanentError):
            read(tmp_path, WHOLE[:length])


def test_a_file_with_any_one_byte_changed_is_refused_or_holds_tensors_and_nothing_runs(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for place in range(len(WHOLE)):
        changed = bytearray(WHOLE)
        changed[place] ^= int(random.integers(1, 256))
        try:
            found = read(tmp_path, bytes(changed))
        except PermanentError:
            continue
        assert all(isinstance(each, np.ndarray) and each.size <= 6 for each in found.values())


def test_more_instructions_than_any_network_needs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_files, "MOST_INSTRUCTIONS", 100)
    with pytest.raises(PermanentError, match="it has too many instructions"):
        read(tmp_path, torch_file({str(number): SIX for number in range(9)}))


def test_a_larger_file_than_any_weights_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "large.pth").touch()
    os.truncate(tmp_path / "large.pth", 8 << 40)
    with pytest.raises(PermanentError, match=r"large\.pth must have at most 1,000,000,000 bytes"):
        read_torch(tmp_path / "large.pth")
