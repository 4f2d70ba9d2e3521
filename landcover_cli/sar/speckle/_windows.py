"""Window means and variances over valid pixels, row by row, the same bits for any split into blocks.

A running sum that slides along a row would depend on where the block began. Here every window is added up afresh in
one fixed order (within a row first, then the rows from top to bottom), so that a pixel's result depends on its window
alone. The sums of one row are kept for the `window` output rows that need them. Compiled without fast-math: LLVM may
vectorise over pixels, never reorder the sum of one pixel.

Beware while working on this file: numba's cache of a kernel follows the file of that kernel alone. After a change here
delete the `*.nbi` and `*.nbc` files beside it, or the filters keep running the old sums.

Sums are float64: squares of 24-bit values fit 48 bits, and the variance of bright targets survives the subtraction.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Columns per strip: the rings of a 7×7 window stay in the first-level cache. It changes no bit of any result.
STRIP_PX = 256


class WindowRing(NamedTuple):
    """Working rows of one strip; made by `new_ring`, advanced by `moments_row`."""

    values: NDArray[np.float64]
    squares: NDArray[np.float64]
    ones: NDArray[np.float64]
    sum_rows: NDArray[np.float64]
    square_rows: NDArray[np.float64]
    count_rows: NDArray[np.float64]
    all_valid: NDArray[np.bool_]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    number: NDArray[np.float64]


@njit(nogil=True, cache=True)
def new_ring(window: int) -> WindowRing:
    """Rows for windows of `window` × `window` pixels over at most `STRIP_PX` columns."""
    wide = STRIP_PX + window - 1
    return WindowRing(
        np.empty(wide),
        np.empty(wide),
        np.empty(wide),
        np.empty((window, STRIP_PX)),
        np.empty((window, STRIP_PX)),
        np.empty((window, STRIP_PX)),
        np.empty(window, np.bool_),
        np.empty(STRIP_PX),
        np.empty(STRIP_PX),
        np.empty(STRIP_PX),
    )


@njit(nogil=True, cache=True)
def _add_along(source: NDArray[np.float64], window: int, n: int, out: NDArray[np.float64]) -> None:
    """out[x] = Σ source[x : x + window] in one fixed order. `window` is odd and ≥ 3."""
    a, b, c = source[0:n], source[1 : n + 1], source[2 : n + 2]
    for x in range(n):
        out[x] = a[x] + b[x] + c[x]
    k = 3
    while k + 4 <= window:
        d, e, f, g = source[k : k + n], source[k + 1 : k + 1 + n], source[k + 2 : k + 2 + n], source[k + 3 : k + 3 + n]
        for x in range(n):
            out[x] += (d[x] + e[x]) + (f[x] + g[x])
        k += 4
    if k < window:
        d, e = source[k : k + n], source[k + 1 : k + 1 + n]
        for x in range(n):
            out[x] += d[x] + e[x]


@njit(nogil=True, cache=True)
def _add_down(rows: NDArray[np.float64], top: int, window: int, n: int, out: NDArray[np.float64]) -> None:
    """out[x] = Σ over the `window` ring rows from the one at `top`, in one fixed order."""
    a, b, c = rows[top % window], rows[(top + 1) % window], rows[(top + 2) % window]
    for x in range(n):
        out[x] = a[x] + b[x] + c[x]
    k = 3
    while k + 4 <= window:
        d, e = rows[(top + k) % window], rows[(top + k + 1) % window]
        f, g = rows[(top + k + 2) % window], rows[(top + k + 3) % window]
        for x in range(n):
            out[x] += (d[x] + e[x]) + (f[x] + g[x])
        k += 4
    if k < window:
        d, e = rows[(top + k) % window], rows[(top + k + 1) % window]
        for x in range(n):
            out[x] += d[x] + e[x]


@njit(nogil=True, cache=True)
def _read_row(image: NDArray[np.float32], y: int, x0: int, n: int, window: int, ring: WindowRing) -> None:
    """Put the horizontal sums of input row `y` into the ring."""
    row = image[y, x0 : x0 + n + window - 1]
    values, squares, ones = ring.values, ring.squares, ring.ones
    valid = 0
    for x in range(n + window - 1):
        value = np.float64(row[x])
        ok = value - value == 0.0  # false for NaN and for infinities
        values[x] = value if ok else 0.0
        squares[x] = value * value if ok else 0.0
        valid += 1 if ok else 0
    slot = y % window
    _add_along(values, window, n, ring.sum_rows[slot])
    _add_along(squares, window, n, ring.square_rows[slot])
    ring.all_valid[slot] = valid == n + window - 1
    counts = ring.count_rows[slot]
    if ring.all_valid[slot]:
        for x in range(n):
            counts[x] = window
        return
    for x in range(n + window - 1):
        ones[x] = 1.0 if row[x] - row[x] == 0.0 else 0.0
    _add_along(ones, window, n, counts)


@njit(nogil=True, cache=True)
def moments_row(image: NDArray[np.float32], y: int, x0: int, n: int, window: int, ring: WindowRing) -> bool:
    """Mean, unbiased variance and number of valid pixels of the windows of one output row.

    Call it for y = 0, 1, 2, … of one strip without gaps. Windows without a valid pixel get mean NaN; with one valid
    pixel, variance 0.

    Args:
        image: [H + window − 1, W + window − 1] haloed block; not finite = invalid.
        y: Output row; its windows cover input rows y … y + window − 1.
        x0: First output column of the strip.
        n: Columns of the strip, at most `STRIP_PX`.
        window: Odd edge length ≥ 3.
        ring: Working rows; `mean`, `variance` and `number` of it are the result.

    Returns:
        True where every pixel of every window is valid.
    """
    for row in range(0 if y == 0 else y + window - 1, y + window):
        _read_row(image, row, x0, n, window, ring)
    mean, variance, count = ring.mean, ring.variance, ring.number
    _add_down(ring.sum_rows, y, window, n, mean)
    _add_down(ring.square_rows, y, window, n, variance)
    whole = True
    for row in range(window):
        whole = whole and ring.all_valid[row]
    if whole:
        total = np.float64(window * window)
        for x in range(n):
            m = mean[x] / total
            v = (variance[x] - mean[x] * m) / (total - 1.0)
            mean[x] = m
            variance[x] = v if v > 0.0 else 0.0
        for x in range(n):
            count[x] = total
        return True
    _add_down(ring.count_rows, y, window, n, count)
    for x in range(n):
        m = mean[x] / count[x] if count[x] > 0.0 else np.nan
        v = (variance[x] - mean[x] * m) / (count[x] - 1.0) if count[x] > 1.0 else 0.0
        mean[x] = m
        variance[x] = v if v > 0.0 else 0.0
    return False


@njit(nogil=True, cache=True)
def box_moments(image: NDArray[np.floating[Any]], window: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Window mean and unbiased variance of a haloed block, both [H, W] float64; NaN mean where nothing is valid."""
    height, width = image.shape[0] - window + 1, image.shape[1] - window + 1
    mean, variance = np.empty((height, width)), np.empty((height, width))
    ring = new_ring(window)
    for x0 in range(0, width, STRIP_PX):
        n = min(STRIP_PX, width - x0)
        for y in range(height):
            moments_row(image, y, x0, n, window, ring)
            mean[y, x0 : x0 + n] = ring.mean[:n]
            variance[y, x0 : x0 + n] = ring.variance[:n]
    return mean, variance


@njit(nogil=True, cache=True)
def speckle_share(mean: float, variance: float, speckle: float) -> float:
    """The part of a window's v/m² that is speckle: all of it up to Cu², and the less the more structure there is.

    Corrections of a bias that comes from speckle alone are weighted by it: none in a constant image, none on targets.

    Args:
        mean: Window mean; at or below zero gives 0.
        variance: Window variance.
        speckle: Cu² = 1/L.

    Returns:
        v/m² where it is at most Cu², else Cu⁴/(v/m²).
    """
    if mean <= 0.0 or variance <= 0.0:
        return 0.0
    ratio = variance / (mean * mean)
    return ratio if ratio <= speckle else speckle * speckle / ratio
