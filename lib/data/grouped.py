"""Rows that lie in a file in groups, and are read a group at a time: more of them than fit into memory."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from math import prod

import numpy as np

BUFFER_BYTES = 128_000_000
"""Of groups that are kept in memory while rows are taken from them in any order."""


class GroupedRows:
    """Rows 0 to N - 1 of one kind (images, or features), group after group."""

    def __init__(
        self,
        sizes: Sequence[int],
        row_shape: tuple[int, ...],
        dtype: type[np.generic],
        read: Callable[[int], np.ndarray],
    ) -> None:
        """`sizes` is the rows of each group, and `read` gives those of one: (size, *row_shape) of `dtype`."""
        self.row_shape, self.dtype = row_shape, np.dtype(dtype)
        self._ends = np.cumsum(sizes)
        self._starts = self._ends - sizes
        self._read, self._kept = read, OrderedDict[int, np.ndarray]()
        self._groups_in_buffer = max(1, BUFFER_BYTES // (max(sizes) * self._row_bytes))

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def nbytes(self) -> int:
        """Of all rows."""
        return len(self) * self._row_bytes

    @property
    def _row_bytes(self) -> int:
        return prod(self.row_shape) * self.dtype.itemsize

    def __iter__(self) -> Iterator[np.ndarray]:
        """The rows of each group that has any, in order."""
        return (self._read(number) for number in np.flatnonzero(self._ends - self._starts).tolist())

    def all(self) -> np.ndarray:
        """(N, …): all rows, in memory."""
        rows, first = np.empty((len(self), *self.row_shape), self.dtype), 0
        for group in self:
            rows[first : first + len(group)] = group
            first += len(group)
        return rows

    def mapped(self, form: Callable[[np.ndarray], np.ndarray]) -> "GroupedRows":
        """What `form` makes of the rows: (n, …) to (n, …), each row for itself."""
        made = form(np.zeros((1, *self.row_shape), self.dtype))
        sizes = (self._ends - self._starts).tolist()
        return GroupedRows(sizes, made.shape[1:], made.dtype.type, lambda number: form(self._read(number)))

    def blocks(self, rows: int) -> Iterator[np.ndarray]:
        """All rows in their order, `rows` at a time; the last block may have fewer."""
        carried = np.empty((0, *self.row_shape), self.dtype)
        for group in self:
            read = np.concatenate([carried, group]) if len(carried) else group
            end = len(read) - len(read) % rows
            yield from (read[first : first + rows] for first in range(0, end, rows))
            carried = read[end:]
        if len(carried):
            yield carried

    def take(self, rows: np.ndarray) -> np.ndarray:
        """(n, …): row `rows[k]` at k, in any order. Fast where they come from few groups, as those of `shuffled` do."""
        taken = np.empty((len(rows), *self.row_shape), self.dtype)
        groups = np.searchsorted(self._ends, rows, "right")
        needed, first_places = np.unique(groups, return_index=True)
        # Those that the last rows were taken from come first: they are let go of only then.
        for group in needed[np.argsort(first_places)]:
            here = np.flatnonzero(groups == group)
            taken[here] = self._group(int(group))[rows[here] - self._starts[group]]
        return taken

    def shuffled(self, random: np.random.Generator) -> np.ndarray:
        """Every row once: groups in random order, and the rows of each buffer of groups in random order."""
        order = random.permutation(len(self._ends))
        rows = [np.arange(self._starts[group], self._ends[group]) for group in order]
        buffers = (
            rows[first : first + self._groups_in_buffer] for first in range(0, len(rows), self._groups_in_buffer)
        )
        return np.concatenate([random.permutation(np.concatenate(buffer)) for buffer in buffers])

    def _group(self, number: int) -> np.ndarray:
        if number not in self._kept:
            if len(self._kept) == self._groups_in_buffer:
                self._kept.popitem(last=False)
            self._kept[number] = self._read(number)
        self._kept.move_to_end(number)
        return self._kept[number]
