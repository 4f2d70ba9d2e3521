"""Median of all clear observations, band by band; of an even number the mean of the middle two, rounded half up.

Values are sorted by a network of exchanges (Batcher 1968, odd-even merge sort) that is the same for every pixel, so
that a row of pixels is sorted at once by vector instructions. What is not clear sorts behind everything else.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

from landcover_cli.composites._history import History

_ROW_PX = 256


@lru_cache(maxsize=64)
def exchanges(count: int) -> np.ndarray:
    """Pairs of a sorting network, (n, 2): after (i, j) the smaller value is at i.

    Batcher's network of the next power of two; an exchange with a place beyond `count` would find the larger value
    there already.
    """
    pairs = []
    size = 1 << max(count - 1, 0).bit_length()
    p = 1
    while p < size:
        k = p
        while k >= 1:
            for j in range(k % p, size - k, 2 * k):
                for i in range(min(k, size - j - k)):
                    if (i + j) // (2 * p) == (i + j + k) // (2 * p):
                        pairs.append((i + j, i + j + k))
            k //= 2
        p *= 2
    return np.array([pair for pair in pairs if pair[1] < count], np.int32).reshape(-1, 2)


@njit(cache=True, nogil=True)
def _sort(row, pairs):  # type: ignore[no-untyped-def]  # pragma: no cover
    for p in range(pairs.shape[0]):
        lower, upper = row[pairs[p, 0]], row[pairs[p, 1]]
        for x in range(_ROW_PX):
            one, other = lower[x], upper[x]
            lower[x] = min(one, other)
            upper[x] = max(one, other)


@njit(cache=True, nogil=True)
def _median(data, clear, pairs, last, whole, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    times, bands, height, width = data.shape
    row = np.empty((times, _ROW_PX), data.dtype)
    low = np.empty(_ROW_PX, np.int32)
    high = np.empty(_ROW_PX, np.int32)
    for y in range(height):
        for x0 in range(0, width, _ROW_PX):
            size = min(_ROW_PX, width - x0)
            keep = clear[:, y, x0 : x0 + size]
            _middles(keep, low, high)
            for b in range(bands):
                for t in range(times):
                    _load(row[t], data[t, b, y, x0 : x0 + size], keep[t], last)
                _sort(row, pairs)
                _pick(row, low, high, whole, out[b, y, x0 : x0 + size])


@njit(cache=True, nogil=True)
def _middles(keep, low, high):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Places of the middle two of what is clear; −1 where nothing is."""
    high[:] = 0
    for t in range(keep.shape[0]):
        for x in range(keep.shape[1]):
            high[x] += np.int32(keep[t, x])
    for x in range(keep.shape[1]):
        low[x] = (high[x] + 1) // 2 - 1
        high[x] //= 2


@njit(cache=True, nogil=True)
def _load(row, values, keep, last):  # type: ignore[no-untyped-def]  # pragma: no cover
    for x in range(values.size):
        row[x] = values[x] if keep[x] else last


@njit(cache=True, nogil=True)
def _pick(row, low, high, whole, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    for x in range(out.size):
        if low[x] >= 0:
            one, other = row[low[x], x], row[high[x], x]
            out[x] = (np.uint32(one) + np.uint32(other) + 1) // 2 if whole else (np.float64(one) + other) / 2


class Reducer(History):
    """Median over observations."""

    def _reduce(
        self,
        data_tbyx: np.ndarray,
        clear_tyx: np.ndarray,
        out_byx: np.ndarray,
        doy_t: np.ndarray,
        doy_yx: np.ndarray | None,
    ) -> None:
        whole = out_byx.dtype.kind == "u"
        last = out_byx.dtype.type(65535 if whole else np.inf)
        _median(data_tbyx, clear_tyx, exchanges(len(data_tbyx)), last, whole, out_byx)
