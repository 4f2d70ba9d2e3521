"""Whole-number changes of pixel size, aware of nodata, the same wherever a raster is cut.

Upsampling by f is bilinear between pixel centres (for f = 2: weights 0.75 and 0.25), with the weights of missing pixels
given to the others; a fine pixel is valid exactly if the coarse pixel it lies in is. Downsampling is the mean of the
f × f block. Integers are computed exactly and rounded half up.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _upsample_integer(src, factor, row0, col0, height, width):  # type: ignore[no-untyped-def]  # pragma: no cover
    out = np.zeros((height, width), src.dtype)
    twice = 2 * factor
    rows, cols = src.shape
    for y in range(height):
        position = 2 * (row0 + y) + 1 - factor
        top = position // twice
        below = position - top * twice
        own_row = (row0 + y) // factor
        for x in range(width):
            own_col = (col0 + x) // factor
            if own_row < 0 or own_row >= rows or own_col < 0 or own_col >= cols or src[own_row, own_col] == 0:
                continue
            position_x = 2 * (col0 + x) + 1 - factor
            left = position_x // twice
            right = position_x - left * twice
            total = np.int64(0)
            weight = np.int64(0)
            for i in range(2):
                row = top + i
                if row < 0 or row >= rows:
                    continue
                wy = below if i == 1 else twice - below
                for j in range(2):
                    col = left + j
                    if col < 0 or col >= cols:
                        continue
                    value = np.int64(src[row, col])
                    if value == 0:
                        continue
                    w = np.int64(wy * (right if j == 1 else twice - right))
                    total += w * value
                    weight += w
            # The own pixel has a weight above zero, so there is always something to divide by.
            out[y, x] = (2 * total + weight) // (2 * weight)
    return out


@njit(cache=True, nogil=True)
def _upsample_float(src, factor, row0, col0, height, width):  # type: ignore[no-untyped-def]  # pragma: no cover
    out = np.full((height, width), np.nan, src.dtype)
    twice = 2 * factor
    rows, cols = src.shape
    for y in range(height):
        position = 2 * (row0 + y) + 1 - factor
        top = position // twice
        below = position - top * twice
        own_row = (row0 + y) // factor
        for x in range(width):
            own_col = (col0 + x) // factor
            if own_row < 0 or own_row >= rows or own_col < 0 or own_col >= cols or np.isnan(src[own_row, own_col]):
                continue
            position_x = 2 * (col0 + x) + 1 - factor
            left = position_x // twice
            right = position_x - left * twice
            total = 0.0
            weight = 0.0
            for i in range(2):
                row = top + i
                if row < 0 or row >= rows:
                    continue
                wy = below if i == 1 else twice - below
                for j in range(2):
                    col = left + j
                    if col < 0 or col >= cols or np.isnan(src[row, col]):
                        continue
                    w = float(wy * (right if j == 1 else twice - right))
                    total += w * src[row, col]
                    weight += w
            out[y, x] = total / weight
    return out


@njit(cache=True, nogil=True)
def _downsample_integer(src, factor):  # type: ignore[no-untyped-def]  # pragma: no cover
    rows, cols = src.shape[0] // factor, src.shape[1] // factor
    out = np.zeros((rows, cols), src.dtype)
    for y in range(rows):
        for x in range(cols):
            total = np.int64(0)
            count = np.int64(0)
            for i in range(factor):
                for j in range(factor):
                    value = np.int64(src[y * factor + i, x * factor + j])
                    if value != 0:
                        total += value
                        count += 1
            if 2 * count >= factor * factor:
                out[y, x] = (2 * total + count) // (2 * count)
    return out


@njit(cache=True, nogil=True)
def _downsample_float(src, factor):  # type: ignore[no-untyped-def]  # pragma: no cover
    rows, cols = src.shape[0] // factor, src.shape[1] // factor
    out = np.full((rows, cols), np.nan, src.dtype)
    for y in range(rows):
        for x in range(cols):
            total = 0.0
            count = 0
            for i in range(factor):
                for j in range(factor):
                    value = src[y * factor + i, x * factor + j]
                    if not np.isnan(value):
                        total += value
                        count += 1
            if 2 * count >= factor * factor:
                out[y, x] = total / count
    return out


def upsample(src_yx: np.ndarray, factor: int, row0: int, col0: int, height: int, width: int) -> np.ndarray:
    """Bilinear upsampling of a part of a raster.

    Args:
        src_yx: Unsigned integers (0 = nodata) or floats (NaN = nodata).
        factor: Whole number ≥ 1.
        row0: First fine row wanted, counted from the first row of `src_yx` (`factor` fine rows each).
        col0: First fine column.
        height: Fine rows.
        width: Fine columns.

    Returns:
        (height, width), same type; nodata outside `src_yx` and where the pixel beneath is nodata. To be independent of
        how the raster was cut, `src_yx` must reach one pixel beyond the wanted part, or to the raster's edge.
    """
    src_yx = np.ascontiguousarray(src_yx)
    kernel = _upsample_float if src_yx.dtype.kind == "f" else _upsample_integer
    return kernel(src_yx, factor, row0, col0, height, width)


def repeat(src_yx: np.ndarray, factor: int, row0: int, col0: int, height: int, width: int) -> np.ndarray:
    """Nearest-neighbour upsampling of a part of a raster that lies wholly within `src_yx`; arguments as `upsample`."""
    rows = (row0 + np.arange(height)) // factor
    cols = (col0 + np.arange(width)) // factor
    return src_yx[rows[:, None], cols[None, :]]


def downsample(src_yx: np.ndarray, factor: int) -> np.ndarray:
    """Mean of f × f blocks over what is valid; nodata where less than half of a block is valid.

    Args:
        src_yx: Unsigned integers (0 = nodata) or floats (NaN = nodata); edges are multiples of `factor`.
        factor: Whole number ≥ 1.
    """
    src_yx = np.ascontiguousarray(src_yx)
    return _downsample_float(src_yx, factor) if src_yx.dtype.kind == "f" else _downsample_integer(src_yx, factor)
