"""Rows that are read a group at a time."""

import numpy as np
import pytest

from lib.data import grouped
from lib.data.grouped import GroupedRows

SIZES = [3, 0, 4, 1]
ROWS = np.arange(8 * 2, dtype=np.uint8).reshape(8, 2)
FIRST = [0, 3, 3, 7]


def rows_in(buffer_groups: int, monkeypatch: pytest.MonkeyPatch) -> tuple[GroupedRows, list[int]]:
    """ROWS in groups of SIZES, of which so many are kept, and the groups that are read, in their order."""
    monkeypatch.setattr(grouped, "BUFFER_BYTES", buffer_groups * 4 * 2)
    read: list[int] = []

    def read_group(number: int) -> np.ndarray:
        read.append(number)
        return ROWS[FIRST[number] : FIRST[number] + SIZES[number]]

    return GroupedRows(SIZES, (2,), np.uint8, read_group), read


def test_rows_are_taken_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = rows_in(1, monkeypatch)
    assert len(rows) == 8
    assert rows.nbytes == 16
    for wanted in ([7, 0, 4, 0], [2], [], range(8)):
        taken = rows.take(np.array(wanted, int))
        assert taken.dtype == np.uint8
        assert taken.tolist() == ROWS[list(wanted)].tolist()


def test_blocks_are_all_rows_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, read = rows_in(2, monkeypatch)
    assert [block.tolist() for block in rows.blocks(3)] == [ROWS[:3].tolist(), ROWS[3:6].tolist(), ROWS[6:].tolist()]
    assert read == [0, 2, 3], "each group once"
    assert rows.all().tolist() == ROWS.tolist()


def test_what_is_made_of_rows_is_made_of_each_group_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, read = rows_in(1, monkeypatch)
    sums = rows.mapped(lambda group: group.sum(axis=1, dtype=np.float32))
    assert read == []
    assert (len(sums), sums.row_shape, sums.dtype) == (8, (), np.float32)
    assert sums.take(np.array([7, 1])).tolist() == [14 + 15, 2 + 3]


@pytest.mark.parametrize(("buffer_groups", "sides"), [(1, [1, 1, 1, 1]), (2, [2, 2]), (3, [3, 1]), (4, [4]), (9, [4])])
def test_an_order_has_each_row_once_and_groups_only_in_their_buffer(
    buffer_groups: int, sides: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, _ = rows_in(buffer_groups, monkeypatch)
    seen = set()
    for seed in range(20):
        order = rows.shuffled(np.random.default_rng(seed))
        assert sorted(order) == list(range(8))
        groups, end = np.random.default_rng(seed).permutation(4), 0
        for first in range(0, 4, sides[0]):
            buffer = [row for group in groups[first : first + sides[0]] for row in range(8)
                      if FIRST[group] <= row < FIRST[group] + SIZES[group]]  # fmt: skip
            assert sorted(order[end : end + len(buffer)]) == sorted(buffer)
            end += len(buffer)
        seen.add(tuple(order))
    assert len(seen) > 15, "another order for each seed"


def test_rows_taken_in_a_shuffled_order_read_each_group_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for buffer_groups in (1, 2, 3):
        rows, read = rows_in(buffer_groups, monkeypatch)
        order = rows.shuffled(np.random.default_rng(1))
        taken = [rows.take(order[first : first + 3]) for first in range(0, 8, 3)]
        assert np.concatenate(taken).tolist() == ROWS[order].tolist()
        assert sorted(read) == [0, 2, 3]
