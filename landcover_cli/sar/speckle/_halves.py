"""Sums over the eight half-windows of the refined Lee filter, for whole rows at once.

Each half-window is a run of columns in each of its rows. The sums of runs of 1 … 7 samples are kept for seven rows, so
that a half-window costs at most seven additions instead of 28; all eight for every pixel are still cheaper than
walking one of them, because rows vectorise. The order of additions is fixed by the window, as in `_windows`.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

WINDOW_PX = 7
PIXELS = 28


def _spans() -> NDArray[np.int64]:
    """[8, 7, 2]: first and one past the last column of each row of the halves W, E, NE, SW, N, S, NW, SE."""
    spans = np.zeros((8, WINDOW_PX, 2), np.int64)
    for row in range(WINDOW_PX):
        north = WINDOW_PX if row <= 3 else 0
        south = WINDOW_PX if row >= 3 else 0
        spans[:, row] = [(0, 4), (3, 7), (row, 7), (0, row + 1), (0, north), (0, south), (0, 7 - row), (6 - row, 7)]
    return spans


SPANS = _spans()


@njit(nogil=True, cache=True)
def read_runs(image: NDArray[np.float32], y: int, x0: int, n: int, runs: NDArray[np.float64]) -> None:
    """Put the run sums of input row `y` into the ring.

    Args:
        image: Haloed block; not finite counts as 0.
        y: Input row.
        x0: First output column of the strip.
        n: Output columns of the strip.
        runs: [2, 7, 7, ≥ n + 6] ring of values and squares, by row modulo 7, run length − 1 and first column.
    """
    row = image[y, x0 : x0 + n + WINDOW_PX - 1]
    values, squares = runs[0, y % WINDOW_PX], runs[1, y % WINDOW_PX]
    single, single2 = values[0], squares[0]
    for x in range(n + WINDOW_PX - 1):
        value = float(row[x])
        value = value if value - value == 0.0 else 0.0
        single[x] = value
        single2[x] = value * value
    for k in range(1, WINDOW_PX):
        wide = n + WINDOW_PX - 1 - k
        before, last, now = values[k - 1], single[k : k + wide], values[k]
        for x in range(wide):
            now[x] = before[x] + last[x]
        before, last, now = squares[k - 1], single2[k : k + wide], squares[k]
        for x in range(wide):
            now[x] = before[x] + last[x]


@njit(nogil=True, cache=True)
def sum_halves(runs: NDArray[np.float64], y: int, n: int, spans: NDArray[np.int64], sums: NDArray[np.float64]) -> None:
    """Sums and sums of squares of all half-windows of output row `y` into `sums`, [2, 8, ≥ n]."""
    for part in range(2):
        for half in range(8):
            out = sums[part, half]
            fresh = True
            for row in range(WINDOW_PX):
                first, stop = spans[half, row]
                if stop == first:
                    continue
                run = runs[part, (y + row) % WINDOW_PX, stop - first - 1, first : first + n]
                if fresh:
                    for x in range(n):
                        out[x] = run[x]
                    fresh = False
                else:
                    for x in range(n):
                        out[x] += run[x]
