"""Bilinear kernels: radar intensity at fractional (line, pixel), and terrain heights at map pixels."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from landcover_cli.sar.ground import node_row

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]


def bilinear_yx(
    intensity: Float32Array, origin_yx: tuple[int, int], line: FloatArray, pixel: FloatArray
) -> Float32Array:
    """Sample a window of an image at fractional coordinates.

    Whole numbers are sample centres. A neighbour takes part if its weight is above zero; where any of them is NaN or
    outside the window, the result is NaN: nodata spreads, a value is never made from less than it needs.

    Args:
        intensity: [ny, nx] linear power, NaN for nodata.
        origin_yx: Line and pixel of the first sample of the window within the image.
        line: [h, w] lines to sample at, in image coordinates; NaN gives NaN.
        pixel: [h, w] pixels.

    Returns:
        [h, w] float32 linear power.
    """
    out = np.empty(line.shape, dtype=np.float32)
    _bilinear(np.ascontiguousarray(intensity), origin_yx, line, pixel, out)
    return out


def nearest_yx(
    values: NDArray, origin_yx: tuple[int, int], line: FloatArray, pixel: FloatArray, fill: float
) -> NDArray:
    """The sample nearest to fractional coordinates, for codes and masks.

    Args:
        values: [ny, nx] of any type.
        origin_yx: Line and pixel of the first sample within the image.
        line: [h, w] lines in image coordinates.
        pixel: [h, w] pixels.
        fill: Value outside the window and for NaN coordinates.

    Returns:
        [h, w] of the type of `values`.
    """
    ny, nx = values.shape
    with np.errstate(invalid="ignore"):
        row = np.floor(line + 0.5) - origin_yx[0]
        col = np.floor(pixel + 0.5) - origin_yx[1]
        inside = (row >= 0) & (row < ny) & (col >= 0) & (col < nx)
    out = np.full(line.shape, fill, dtype=values.dtype)
    out[inside] = values[row[inside].astype(np.int64), col[inside].astype(np.int64)]
    return out


@numba.njit(nogil=True, cache=True)
def _bilinear(
    image: Float32Array, origin: tuple[int, int], line: FloatArray, pixel: FloatArray, out: Float32Array
) -> None:
    ny, nx = image.shape
    for r in range(line.shape[0]):
        for c in range(line.shape[1]):
            y, x = line[r, c], pixel[r, c]
            out[r, c] = np.nan
            if not (abs(y) < 1e9 and abs(x) < 1e9):
                continue
            fi, fj = math.floor(y), math.floor(x)
            # Fractions are taken in image coordinates, so that they do not depend on where the window begins.
            v, u = y - fi, x - fj
            i, j = int(fi) - origin[0], int(fj) - origin[1]
            i1 = i + 1 if v > 0.0 else i
            j1 = j + 1 if u > 0.0 else j
            if i < 0 or j < 0 or i1 >= ny or j1 >= nx:
                continue
            top = image[i, j] + u * (np.float64(image[i, j1]) - image[i, j])
            low = image[i1, j] + u * (np.float64(image[i1, j1]) - image[i1, j])
            out[r, c] = np.float32(top + v * (low - top))


@numba.njit(nogil=True, cache=True)
def fill_heights(
    values: FloatArray,
    corner: tuple[int, int],
    index: FloatArray,
    frame: tuple[int, int, int],
    origin: tuple[int, int],
    out: FloatArray,
) -> None:
    """Fill the NaN of a block with bilinear heights.

    The DEM pixel that holds the place must be valid; of the other three neighbours, those without data are left out and
    the weights of the rest are raised. Half a pixel inside the rim of a tile this is the nearest row or column.

    Args:
        values: [ny, nx] heights of a window of the DEM, NaN for none.
        corner: Row and column of the window's first pixel on the DEM's whole lattice.
        index: [my, mx, 2] row and column of the map grid's nodes on that lattice, whole numbers being pixel centres.
        frame: `GroundNodes.frame` of the nodes.
        origin: Row and column of the block on the map lattice.
        out: [h, w] heights, filled in place where NaN.
    """
    step, _, node_col0 = frame
    inverse = 1.0 / step
    line = np.empty((index.shape[1], 2))
    top, left = float(corner[0]), float(corner[1])
    bottom, right = top + values.shape[0] - 1.0, left + values.shape[1] - 1.0
    for r in range(out.shape[0]):
        node_row(index, frame, origin[0] + r, line)
        j = origin[1] // step - node_col0
        k = origin[1] - (j + node_col0) * step
        row, col = line[j, 0], line[j, 1]
        down, along = line[j + 1, 0] - row, line[j + 1, 1] - col
        for c in range(out.shape[1]):
            if k == step:
                j, k = j + 1, 0
                row, col = line[j, 0], line[j, 1]
                down, along = line[j + 1, 0] - row, line[j + 1, 1] - col
            weight = k * inverse
            k += 1
            if out[r, c] == out[r, c]:
                continue
            y, x = row + weight * down, col + weight * along
            height = np.nan
            if top <= y < bottom and left <= x < right:
                height = _among_four(values, y, x, corner)
            if np.isnan(height) and np.isfinite(y) and np.isfinite(x):
                height = _height_near(values, y, x, corner)
            out[r, c] = height


@numba.njit(nogil=True, cache=True, inline="always")
def _among_four(values, y, x, corner):  # type: ignore[no-untyped-def]
    """Bilinear height inside the window; NaN if a neighbour is."""
    fi, fj = math.floor(y), math.floor(x)
    # Unsigned: the compiler need not think of counting from the end.
    i, j = np.uint64(fi - corner[0]), np.uint64(fj - corner[1])
    one = np.uint64(1)
    u = x - fj
    above = values[i, j] + u * (values[i, j + one] - values[i, j])
    below = values[i + one, j] + u * (values[i + one, j + one] - values[i + one, j])
    return above + (y - fi) * (below - above)


@numba.njit(nogil=True, cache=True)
def _height_near(values: FloatArray, row: float, col: float, corner: tuple[int, int]) -> float:
    """Height at a rim, from those of the four neighbours that there are, if the pixel that holds the place is one."""
    ny, nx = values.shape
    near_i = math.floor(row + 0.5) - corner[0]
    near_j = math.floor(col + 0.5) - corner[1]
    if near_i < 0 or near_j < 0 or near_i >= ny or near_j >= nx or np.isnan(values[near_i, near_j]):
        return np.nan
    fi, fj = math.floor(row), math.floor(col)
    v, u = row - fi, col - fj
    total, weights = 0.0, 0.0
    for di in range(2):
        for dj in range(2):
            a, b = int(fi) + di - corner[0], int(fj) + dj - corner[1]
            w = (v if di else 1.0 - v) * (u if dj else 1.0 - u)
            if 0 <= a < ny and 0 <= b < nx and w > 0.0 and not np.isnan(values[a, b]):
                total += w * values[a, b]
                weights += w
    return total / weights
