"""Look-up tables along the lines of an image: each line has its own pixel nodes.

Calibration and noise vectors share this form. A table is never stacked into a matrix, because the nodes differ from
line to line; instead the few lines that a window needs are brought to full pixel resolution. The value at a pixel
depends on the pixel and its line alone, so that any cut of the image into windows gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from landcover_cli.sar.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class LineTable:
    """V rows of nodes, one after the other.

    Attributes:
        time_s: [V] non-decreasing azimuth times of the rows, seconds since the product epoch.
        pixel: [F] nodes of all rows, non-decreasing within a row.
        value: [F] their values.
        offset: [V + 1] where each row starts.
    """

    time_s: FloatArray
    pixel: IntArray
    value: FloatArray
    offset: IntArray


def line_table(times_s: Sequence[float], pixels: Sequence[IntArray], values: Sequence[FloatArray]) -> LineTable:
    """Chain rows of nodes, each on its own pixel grid.

    Args:
        times_s: Azimuth time of each row, non-decreasing.
        pixels: Nodes of each row.
        values: Values of each row.

    Returns:
        The table.
    """
    return LineTable(
        time_s=np.array(times_s, dtype=np.float64),
        pixel=np.concatenate(pixels).astype(np.int64),
        value=np.concatenate(values).astype(np.float64),
        offset=np.cumsum([0, *(len(p) for p in pixels)], dtype=np.int64),
    )


def bracket(nodes: FloatArray, at: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
    """The two nodes around each position and the weight of the second; positions outside take the nearest node.

    Args:
        nodes: [V] non-decreasing, at least one.
        at: [N] positions.

    Returns:
        Index of the node at or before, index of the node after, weight of the latter in 0..1; all [N].
    """
    last = len(nodes) - 1
    low = np.clip(np.searchsorted(nodes, at, side="right") - 1, 0, last).astype(np.int64)
    high = np.minimum(low + 1, last)
    width = nodes[high] - nodes[low]
    # Two nodes at one place: `low` is the later of them, and the width is of the next interval or zero at the end.
    weight = np.where(width > 0, (at - nodes[low]) / np.where(width > 0, width, 1.0), 0.0)
    return low, high, np.clip(weight, 0.0, 1.0)


@numba.njit(cache=True, nogil=True)
def expand_rows(pixel, value, offset, rows, first_pixel, out):  # type: ignore[no-untyped-def]
    """Bring rows of a table to full pixel resolution, linear between nodes, constant beyond them.

    Args:
        pixel: `LineTable.pixel`.
        value: `LineTable.value`.
        offset: `LineTable.offset`.
        rows: [R] rows to expand.
        first_pixel: Sample of the first column.
        out: [R, columns] float64, filled.
    """
    for r in range(rows.shape[0]):
        j = offset[rows[r]]
        last = offset[rows[r] + 1] - 1
        for c in range(out.shape[1]):
            x = first_pixel + c
            # The next node decides: with two nodes at one place, the later one is the start of the interval.
            while j < last and pixel[j + 1] <= x:
                j += 1
            if x <= pixel[j] or j == last:
                out[r, c] = value[j]
            else:
                share = (x - pixel[j]) / (pixel[j + 1] - pixel[j])
                out[r, c] = value[j] + share * (value[j + 1] - value[j])


def rows_at(table: LineTable, rows: IntArray, first_pixel: int, pixels: int) -> FloatArray:
    """Some rows of a table at full pixel resolution.

    Args:
        table: The table.
        rows: [R] row numbers.
        first_pixel: Sample of the first column.
        pixels: Number of columns.

    Returns:
        [R, pixels] float64.
    """
    out = np.empty((len(rows), pixels), dtype=np.float64)
    expand_rows(table.pixel, table.value, table.offset, rows, first_pixel, out)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class RowPair:
    """For each line of a window: which two expanded rows to blend, and how.

    Attributes:
        row: [R, columns] expanded rows.
        low: [lines] row at or before the line.
        high: [lines] row after the line.
        weight: [lines] weight of `high`.
    """

    row: FloatArray
    low: IntArray
    high: IntArray
    weight: FloatArray


def rows_for(table: LineTable, low: IntArray, high: IntArray, weight: FloatArray, first: int, pixels: int) -> RowPair:
    """Expand only those rows of a table that the lines of a window need.

    Args:
        table: The table.
        low: [lines] row at or before each line.
        high: [lines] row after each line.
        weight: [lines] weight of `high`.
        first: Sample of the first column.
        pixels: Number of columns.

    Returns:
        The rows, with `low` and `high` counted within them.
    """
    needed = np.unique(np.concatenate([low, high]))
    return RowPair(
        row=rows_at(table, needed, first, pixels),
        low=np.searchsorted(needed, low).astype(np.int64),
        high=np.searchsorted(needed, high).astype(np.int64),
        weight=weight,
    )


@numba.njit(cache=True, nogil=True)
def blend(row, low, high, weight, out):  # type: ignore[no-untyped-def]
    """Blend expanded rows into a window: out[y, x] = row[low] + weight·(row[high] − row[low])."""
    for y in range(out.shape[0]):
        a, b, w = low[y], high[y], weight[y]
        for x in range(out.shape[1]):
            out[y, x] = row[a, x] + w * (row[b, x] - row[a, x])
