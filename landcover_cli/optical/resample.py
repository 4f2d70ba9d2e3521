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
    for y in range(height):
        _upsample_row(src, factor, row0 + y, col0, out[y])
    return out


@njit(cache=True, nogil=True)
def _upsample_twice(src, row0, col0, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The same for a factor of 2, seven times quicker on rows without a hole: two passes of weights 3 and 1."""
    rows, cols = src.shape
    height, width = out.shape
    out[:] = 0
    blend = np.empty(cols, np.uint32)
    for y in range(height):
        own = (row0 + y) // 2
        if own < 0 or own >= rows:
            continue
        # Beyond the raster the own row stands in: 3a + a has the weight of 4a, which is a.
        other = min(max(own + 1 if (row0 + y) & 1 else own - 1, 0), rows - 1)
        holes = 0
        for c in range(cols):
            blend[c] = 3 * np.uint32(src[own, c]) + np.uint32(src[other, c])
            holes += (src[own, c] == 0) | (src[other, c] == 0)
        if holes:
            _upsample_row(src, 2, row0 + y, col0, out[y])
            continue
        for x in range(max(-col0, 0), min(width, 2 * cols - col0)):
            own = (col0 + x) // 2
            other = min(max(own + 1 if (col0 + x) & 1 else own - 1, 0), cols - 1)
            out[y, x] = (3 * blend[own] + blend[other] + 8) >> 4


@njit(cache=True, nogil=True)
def _upsample_row(src, factor, row, col0, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    twice = 2 * factor
    rows, cols = src.shape
    position = 2 * row + 1 - factor
    top = position // twice
    below = position - top * twice
    own_row = row // factor
    for x in range(out.size):
        own_col = (col0 + x) // factor
        if own_row < 0 or own_row >= rows or own_col < 0 or own_col >= cols or src[own_row, own_col] == 0:
            continue
        position_x = 2 * (col0 + x) + 1 - factor
        left = position_x // twice
        right = position_x - left * twice
        total = np.int64(0)
        weight = np.int64(0)
        for i in range(2):
            at = top + i
            if at < 0 or at >= rows:
                continue
            wy = below if i == 1 else twice - below
            for j in range(2):
                col = left + j
                if col < 0 or col >= cols:
                    continue
                value = np.int64(src[at, col])
                if value == 0:
                    continue
                w = np.int64(wy * (right if j == 1 else twice - right))
                total += w * value
                weight += w
        # The own pixel has a weight above zero, so there is always something to divide by.
        out[x] = (2 * total + weight) // (2 * weight)


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


@njit(cache=True, nogil=True)
def _sample(src, row0, col0, rows, cols, step, first_y, first_x, height, width, reach_y, reach_x, nearest):  # type: ignore[no-untyped-def]  # pragma: no cover
    out = np.full((height, width), np.nan)
    n_rows, n_cols = src.shape
    for y in range(height):
        ky = (2 * (first_y + y) + 1) // (2 * step)
        fy = ((first_y + y) + 0.5) / step - ky
        ny = ky - first_y // step
        for x in range(width):
            kx = (2 * (first_x + x) + 1) // (2 * step)
            fx = ((first_x + x) + 0.5) / step - kx
            nx = kx - first_x // step
            a, b, c, d = (1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx
            row = a * rows[ny, nx] + b * rows[ny, nx + 1] + c * rows[ny + 1, nx] + d * rows[ny + 1, nx + 1]
            col = a * cols[ny, nx] + b * cols[ny, nx + 1] + c * cols[ny + 1, nx] + d * cols[ny + 1, nx + 1]
            if not (np.isfinite(row) and np.isfinite(col)):
                continue
            own_row, own_col = int(np.floor(row)) - row0, int(np.floor(col)) - col0
            if own_row < 0 or own_row >= n_rows or own_col < 0 or own_col >= n_cols:
                continue
            own = src[own_row, own_col]
            if np.isnan(own):
                continue
            if nearest:
                out[y, x] = own
                continue
            total = 0.0
            weight = 0.0
            # Row r has its centre at r + 0.5.
            for r in range(int(np.ceil(row - 0.5 - reach_y)), int(np.floor(row - 0.5 + reach_y)) + 1):
                wy = 1 - abs(r + 0.5 - row) / reach_y
                i = r - row0
                if i < 0 or i >= n_rows or wy <= 0:
                    continue
                for q in range(int(np.ceil(col - 0.5 - reach_x)), int(np.floor(col - 0.5 + reach_x)) + 1):
                    wx = 1 - abs(q + 0.5 - col) / reach_x
                    j = q - col0
                    if j < 0 or j >= n_cols or wx <= 0 or np.isnan(src[i, j]):
                        continue
                    total += wy * wx * src[i, j]
                    weight += wy * wx
            out[y, x] = total / weight
    return out


def sample(
    src_yx: np.ndarray,
    origin: tuple[int, int],
    nodes: tuple[np.ndarray, np.ndarray],
    step: int,
    first: tuple[int, int],
    shape: tuple[int, int],
    reach: tuple[float, float],
    *,
    nearest: bool,
) -> np.ndarray:
    """Sample a raster at positions that are known at the nodes of a coarse lattice and interpolated between them.

    Every number depends on the raster and on absolute lattice indices alone, so that a window of a result is the result
    of a window, bit for bit.

    Args:
        src_yx: A window of the raster, float64, NaN = nodata.
        origin: Row and column of the window's first pixel in the raster.
        nodes: Row and column in the raster (0 = outer edge of the first pixel) at the nodes, which lie at lattice
            indices ``step · k``, from ``first // step`` on, one more than needed at the end; NaN where undefined.
        step: Lattice pixels between nodes.
        first: Absolute row and column index of the first lattice pixel wanted.
        shape: Rows and columns wanted.
        reach: Half width of the triangular filter in raster pixels along y and x; 1 is bilinear.
        nearest: Take the pixel that the position falls in instead.

    Returns:
        float64; NaN where the pixel that the position falls in is nodata or not in the window.
    """
    rows, cols = nodes
    src = np.ascontiguousarray(src_yx, np.float64)
    return _sample(src, *origin, rows, cols, step, *first, *shape, *reach, nearest)


def upsample(
    src_yx: np.ndarray, factor: int, row0: int, col0: int, height: int, width: int, out: np.ndarray | None = None
) -> np.ndarray:
    """Bilinear upsampling of a part of a raster.

    Args:
        src_yx: Unsigned integers (0 = nodata) or floats (NaN = nodata).
        factor: Whole number ≥ 1.
        row0: First fine row wanted, counted from the first row of `src_yx` (`factor` fine rows each).
        col0: First fine column.
        height: Fine rows.
        width: Fine columns.
        out: Where the result goes; default: a new array.

    Returns:
        (height, width), same type; nodata outside `src_yx` and where the pixel beneath is nodata. To be independent of
        how the raster was cut, `src_yx` must reach one pixel beyond the wanted part, or to the raster's edge.
    """
    src_yx = np.ascontiguousarray(src_yx)
    if src_yx.dtype == np.uint16 and factor == 2:
        out = np.empty((height, width), src_yx.dtype) if out is None else out
        _upsample_twice(src_yx, row0, col0, out)
        return out
    kernel = _upsample_float if src_yx.dtype.kind == "f" else _upsample_integer
    found: np.ndarray = kernel(src_yx, factor, row0, col0, height, width)
    if out is None:
        return found
    out[...] = found
    return out


def repeat(src_yx: np.ndarray, factor: int, row0: int, col0: int, height: int, width: int) -> np.ndarray:
    """Nearest-neighbour upsampling of a part of a raster that lies wholly within `src_yx`; arguments as `upsample`."""
    r, c = row0 // factor, col0 // factor
    part = src_yx[r : (row0 + height - 1) // factor + 1, c : (col0 + width - 1) // factor + 1]
    if factor > 1:
        part = part.repeat(factor, axis=1).repeat(factor, axis=0)
    return part[row0 - r * factor :, col0 - c * factor :][:height, :width]


def downsample(src_yx: np.ndarray, factor: int) -> np.ndarray:
    """Mean of f × f blocks over what is valid; nodata where less than half of a block is valid.

    Args:
        src_yx: Unsigned integers (0 = nodata) or floats (NaN = nodata); edges are multiples of `factor`.
        factor: Whole number ≥ 1.
    """
    src_yx = np.ascontiguousarray(src_yx)
    return _downsample_float(src_yx, factor) if src_yx.dtype.kind == "f" else _downsample_integer(src_yx, factor)
