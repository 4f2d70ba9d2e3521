"""How much of every piece of ground the radar sees, and into which pixels it falls.

The ground between the nodes of a fine lattice is a facet. Its area, projected on the plane normal to the look vector,
is what it deposits in the image (gamma area; D. Small, IEEE TGRS 49(8), 2011, doi 10.1109/TGRS.2011.2120616).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer
from scipy import ndimage, sparse

from landcover_cli.demo.sentinel1_ground import (
    Heights,
    LocalOrbit,
    MapGrid,
    dot,
    ecef,
    geodetic,
    ground_point,
    lonlat,
    surface,
)
from landcover_cli.demo.sentinel1_orbit import FloatArray
from landcover_cli.demo.sentinel1_ranges import LINE_INTERVAL_S, PIXEL_SPACING_M, RangeScale

_ROWS_AT_ONCE = 64
_ENTRIES_AT_ONCE = 2_000_000


def facet_edges(
    grid: MapGrid, ranges: RangeScale, image: tuple[float, int, int], height: FloatArray, facet_m: float
) -> tuple[FloatArray, FloatArray]:
    """Eastings and northings of the facets' corners: all ground that the image can show, on the map's lattice."""
    first_line, lines, pixels = image
    line, pixel = np.meshgrid(np.linspace(-1, lines, 9), np.linspace(-1, pixels, 9))
    time = (first_line + line * LINE_INTERVAL_S).ravel()
    slant = ranges.slant_m(time, pixel.ravel() * PIXEL_SPACING_M)
    to_map = Transformer.from_crs(4326, grid.epsg, always_xy=True)
    relief = float(np.ptp(height))
    east, north = [], []
    # Relief beyond the map may exceed that within it.
    for level in (float(height.min()) - 0.3 * relief - 20.0, float(height.max()) + 0.3 * relief + 20.0):
        lon, lat, _ = geodetic(ground_point(ranges.track, time, slant, level))
        x, y = to_map.transform(lon, lat)
        east += [x.min(), x.max()]
        north += [y.min(), y.max()]
    left, _bottom, _right, top = grid.bounds_m
    cols = np.arange(np.floor((min(east) - left) / facet_m), np.ceil((max(east) - left) / facet_m) + 1)
    rows = np.arange(np.floor((top - max(north)) / facet_m), np.ceil((top - min(north)) / facet_m) + 1)
    return left + cols * facet_m, top - rows * facet_m


def deposit(
    grid: MapGrid,
    heights: Heights,
    local: LocalOrbit,
    ranges: RangeScale,
    image: tuple[float, int, int],
    ground: tuple[FloatArray, FloatArray],
) -> Any:
    """The sparse matrix of gamma areas; facets are handled some rows at a time."""
    east, north = ground
    first_line, lines, pixels = image
    hidden = cast_shadow(grid, heights, local, ground)
    total = sparse.csr_matrix((lines * pixels, grid.rows * grid.cols))
    pieces: list[tuple[NDArray[Any], ...]] = []
    map_col = np.clip((0.5 * (east[1:] + east[:-1]) - grid.left_m) // grid.pixel_m, 0, grid.cols - 1).astype(np.int32)
    for row in range(0, len(north) - 1, _ROWS_AT_ONCE):
        part = north[row : row + _ROWS_AT_ONCE + 1]
        position, _up, _height = surface(grid, heights, east, part)
        seen = local.see(position)
        line = (seen.time_s - first_line) / LINE_INTERVAL_S
        pixel = ranges.ground_m(seen.time_s, seen.slant_m) / PIXEL_SPACING_M
        # Half the product of the diagonals is the vector area of a facet, bent or not; southwards × eastwards is up.
        vector = 0.5 * np.cross(position[1:, 1:] - position[:-1, :-1], position[:-1, 1:] - position[1:, :-1])
        area = np.maximum(dot(vector, _middle(seen.look)), 0.0)
        area *= ~hidden[row : row + len(part) - 1]
        map_row = np.clip((grid.top_m - 0.5 * (part[1:] + part[:-1])) // grid.pixel_m, 0, grid.rows - 1)
        source = map_row.astype(np.int32)[:, None] * np.int32(grid.cols) + map_col
        pieces.append(_bilinear(_middle(line), _middle(pixel), area, source, (lines, pixels)))
        if sum(len(p[0]) for p in pieces) > _ENTRIES_AT_ONCE or row + _ROWS_AT_ONCE >= len(north) - 1:
            target, origin, weight = (np.concatenate(v) for v in zip(*pieces, strict=True))
            total = total + sparse.csr_matrix((weight, (target, origin)), shape=total.shape)
            pieces = []
    return total


def _middle(corner: FloatArray) -> FloatArray:
    return np.asarray(0.25 * (corner[1:, 1:] + corner[1:, :-1] + corner[:-1, 1:] + corner[:-1, :-1]))


def _bilinear(
    line: FloatArray, pixel: FloatArray, area: FloatArray, source: NDArray[np.int32], shape: tuple[int, int]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """(image index, map index, area) of the four shares of every facet that lie in the image."""
    low_y, low_x = np.floor(line), np.floor(pixel)
    v, u = line - low_y, pixel - low_x
    out = []
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        y, x = low_y + dy, low_x + dx
        share = area * (v if dy else 1.0 - v) * (u if dx else 1.0 - u)
        keep = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1]) & (share > 0)
        index = (y[keep] * shape[1] + x[keep]).astype(np.int32)
        out.append((index, source[keep], share[keep]))
    target, origin, weight = (np.concatenate(part) for part in zip(*out, strict=True))
    return target, origin, weight


def cast_shadow(
    grid: MapGrid, heights: Heights, local: LocalOrbit, ground: tuple[FloatArray, FloatArray]
) -> NDArray[np.bool_]:
    """[facets] whether nearer terrain hides the middle of a facet, by marching towards the satellite.

    Over the few kilometres of a map the direction to the satellite hardly turns (0.3°) and steepens by the same
    amount: one direction and one slope of the ray serve, that of the middle.
    """
    east, north = ground
    x, y = 0.5 * (east[1:] + east[:-1]), 0.5 * (north[1:] + north[:-1])
    height = np.asarray(heights(*np.broadcast_arrays(x[None, :], y[:, None])), np.float64)
    hidden = np.zeros(height.shape, bool)
    # The middle of the map, and points east and north of it.
    points = lonlat(
        grid.epsg, x[len(x) // 2] + np.array([0.0, 100.0, 0.0]), y[len(y) // 2] + np.array([0.0, 0.0, 100.0])
    )
    place, up = ecef(*points, np.full(3, height.mean()))
    look = local.see(place[0]).look
    cosine = float(look @ up[0])
    rise = cosine / np.sqrt(1.0 - cosine**2)
    to_east, to_north = (float(look @ (place[k] - place[0])) for k in (1, 2))
    length = np.hypot(to_east, to_north)
    step = abs(x[1] - x[0])
    shift_yx = np.array([-to_north / length, to_east / length])
    for k in range(1, int(np.ptp(height) / (rise * step)) + 2):
        nearer = _shifted(height, k * shift_yx)
        hidden |= nearer > height + k * step * rise
        if k == 2 and not hidden.any():
            # A shadow begins where ground falls faster than the ray: seen within two steps, or nowhere.
            break
    return hidden


def _shifted(values: FloatArray, by_yx: FloatArray) -> FloatArray:
    """values[y + dy, x + dx] by bilinear interpolation, far below any ground outside."""
    return np.asarray(ndimage.shift(values, -by_yx, order=1, mode="constant", cval=-1e9))
