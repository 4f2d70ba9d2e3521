"""Cast shadow on the grid of facets: ground that itself faces the satellite and lies behind something higher.

A place is in shadow if a nearer one on its range line is seen under the same or a larger look angle. Before any line is
followed, the largest look angle of everything nearer is swept over the grid in one pass, taking the larger of what lies
straight ahead and of both sides: where even that stays below a place's own look angle, nothing hides it. Mostly
nothing is left to be followed.

The look angle barely depends on time (along the track it is at its turning point): the zero-Doppler time of the
ellipsoid below a place, some milliseconds off, changes it by less than 1e-10 of a degree.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numpy as np
from numpy.typing import NDArray

from landcover_cli.sar.geocoding import RadarModel, seed_times
from landcover_cli.sar.ground import Block, GroundNodes, MapLattice, ground_nodes, read_only
from landcover_cli.sar.rowkernels import (
    ORBIT_STEP_S,
    ROW_PX,
    SEED,
    SLANT,
    SLOTS,
    enter_row,
    look_stretch,
    piece_stretch,
    row_places,
)
from landcover_cli.sar.terrain import RELIEF_MARGIN_M, RangeDirection, range_direction

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# The incidence angle along a range line of some kilometres differs from that at its end by less than 1 % in tangent.
TANGENT_MARGIN = 1.02


def cast_shadow(
    model: RadarModel,
    lattice: MapLattice,
    cell: Block,
    height_m: FloatArray,
    heights: Callable[[MapLattice, Block], FloatArray],
    highest_m: float,
) -> BoolArray | None:
    """Places of a cell that the terrain hides from the satellite.

    Args:
        model: The product.
        lattice: The grid of the cell.
        cell: The places.
        height_m: [h, w] their heights above the ellipsoid, NaN for unknown.
        heights: Gives the heights of any block of the lattice, for the ground on the near side.
        highest_m: Height that no ground within reach exceeds; a larger one changes no value.

    Returns:
        [h, w] true where hidden; None where nothing is. Unknown ground hides nothing.
    """
    known = height_m[np.isfinite(height_m)]
    if not known.size:
        return None
    nodes = ground_nodes(lattice, cell)
    direction = range_direction(model, nodes, seed_times(model, nodes))
    wide = _near_side(cell, direction, highest_m - float(known.min()))
    if wide is None:
        return None
    ground = heights(lattice, wide)
    # The relief at hand is mostly less than the scene's.
    nearer = _near_side(cell, direction, float(np.nanmax(ground)) - float(known.min()))
    if nearer is None:
        return None
    top, left = nearer.row0 - wide.row0, nearer.col0 - wide.col0
    ground = np.ascontiguousarray(ground[top : top + nearer.height, left : left + nearer.width])
    step = main_step(direction)
    if step is not None and not _may_shade(ground, step, _steepest_lit_m(direction)):
        return None
    wide_nodes = ground_nodes(lattice, nearer)
    look = look_angles(model, wide_nodes, seed_times(model, wide_nodes), nearer, ground)
    bound = np.full(look.shape, np.inf)
    if step is not None:
        running_extreme(look, step, bound)
    out = np.zeros(cell.shape_yx, dtype=np.bool_)
    found = _follow(
        ground,
        look,
        bound,
        np.ascontiguousarray(direction.step_rc),
        direction.step_m,
        direction.tan_incidence,
        nodes.frame,
        (cell.row0, cell.col0),
        (cell.row0 - nearer.row0, cell.col0 - nearer.col0),
        float(np.nanmax(ground)) + RELIEF_MARGIN_M,
        out,
    )
    return out if found else None


def look_angles(
    model: RadarModel, nodes: GroundNodes, seeds_s: FloatArray, block: Block, height_m: FloatArray
) -> FloatArray:
    """What grows with the look angle: −cos of the angle at the satellite between the Earth's centre and a place.

    Args:
        model: The product.
        nodes: Nodes around the block.
        seeds_s: `seed_times` of the nodes.
        block: The pixels.
        height_m: [h, w] heights above the ellipsoid, NaN for unknown.

    Returns:
        [h, w] −1..1, NaN where the height is unknown.
    """
    out = np.empty(block.shape_yx)
    _looks(
        model.orbit,
        model.orbit_start_s,
        nodes.surface_m,
        nodes.normal,
        read_only(seeds_s[..., None]),
        nodes.frame,
        (block.row0, block.col0),
        np.ascontiguousarray(height_m, dtype=np.float64),
        out,
    )
    return out


def _near_side(cell: Block, direction: RangeDirection, relief_m: float) -> Block | None:
    """The cell with the ground on its near side that can hide it; None where the radar sees nothing of the cell."""
    seen = np.isfinite(direction.step_m)
    if not seen.any():
        return None
    reach_m = (relief_m + RELIEF_MARGIN_M) * TANGENT_MARGIN * float(direction.tan_incidence[seen].max())
    steps = math.ceil(reach_m / float(direction.step_m[seen].min())) + 1
    rows, cols = direction.step_rc[seen][:, 0], direction.step_rc[seen][:, 1]

    def towards(step: FloatArray) -> int:
        return math.ceil(steps * max(float(step.max()), 0.0)) + 1

    up, down, left, right = towards(rows), towards(-rows), towards(cols), towards(-cols)
    return Block(cell.row0 - up, cell.col0 - left, cell.height + up + down, cell.width + left + right)


def _steepest_lit_m(direction: RangeDirection) -> float:
    """Descent per step, away from the satellite, that is certainly still lit, in metres."""
    seen = np.isfinite(direction.step_m)
    return float(direction.step_m[seen].min() / direction.tan_incidence[seen].max()) / TANGENT_MARGIN**2


def _may_shade(height_m: FloatArray, step: tuple[int, int], lit_m: float) -> bool:
    """Whether the ground anywhere falls off as steeply as the rays; if not, there is no shadow."""
    turned = height_m if step[0] else np.ascontiguousarray(height_m.T)
    return bool(_falls(turned, sum(step) < 0, lit_m))


@numba.njit(nogil=True, cache=True)
def _falls(height: FloatArray, backwards: bool, lit_m: float) -> bool:
    rows, columns = height.shape
    for n in range(1, rows):
        r = rows - 1 - n if backwards else n
        before = r + 1 if backwards else r - 1
        for c in range(columns):
            limit = height[r, c] + lit_m
            for k in range(max(c - 1, 0), min(c + 2, columns)):
                if height[before, k] >= limit:
                    return True
    return False


def main_step(direction: RangeDirection) -> tuple[int, int] | None:
    """The axis and sign along which all range lines of a block advance by whole pixels, as (rows, columns); None where
    they do not agree."""
    seen = np.isfinite(direction.step_m)
    steps = direction.step_rc[seen]
    if not len(steps):
        return None
    for axis in (0, 1):
        main = steps[:, axis]
        if (np.abs(main) > 1.0 - 1e-9).all() and (np.sign(main) == np.sign(main[0])).all():
            sign = int(np.sign(main[0]))
            return (sign, 0) if axis == 0 else (0, sign)
    return None


def running_extreme(values: FloatArray, step: tuple[int, int], out: FloatArray) -> None:
    """An upper bound of what lies before every pixel, on any line within 45° of the given direction.

    Args:
        values: [h, w]; NaN counts as nothing.
        step: (1, 0), (−1, 0), (0, 1) or (0, −1): the direction from "before" to "after".
        out: [h, w] receives the bound; −inf where nothing is before.
    """
    turned = values if step[0] else np.ascontiguousarray(values.T)
    bound = np.empty(turned.shape)
    _sweep(turned, sum(step) < 0, bound)
    out[:] = bound if step[0] else bound.T


@numba.njit(nogil=True, cache=True)
def _sweep(values: FloatArray, backwards: bool, out: FloatArray) -> None:
    height, width = values.shape
    # The larger of a row and of what lies before it, with a rim, so that three neighbours are always there.
    row = np.full(width + 2, -np.inf)
    for n in range(height):
        r = height - 1 - n if backwards else n
        for c in range(width):
            out[r, c] = max(row[c], row[c + 1], row[c + 2])
        for c in range(width):
            value = values[r, c]
            row[c + 1] = value if value > out[r, c] else out[r, c]


@numba.njit(nogil=True, cache=True)
def _looks(
    orbit: FloatArray,
    start_s: float,
    surface: FloatArray,
    normal: FloatArray,
    seeds: FloatArray,
    frame: tuple[int, int, int],
    origin: tuple[int, int],
    height: FloatArray,
    out: FloatArray,
) -> None:
    """Look angles of a block at the times of its seeds; see `look_stretch`."""
    scratch = np.empty(SLOTS * ROW_PX)
    for first in range(0, height.shape[1], ROW_PX):
        count = min(ROW_PX, height.shape[1] - first)
        times = scratch[SEED * ROW_PX : SEED * ROW_PX + count]
        for r in range(height.shape[0]):
            row, col = origin[0] + r, origin[1] + first
            weight = enter_row(surface, normal, seeds, frame, row, col, count, r == 0, scratch)
            row_places(weight, height[r, first : first + count], scratch)
            begin = 0
            while begin < count:
                piece, end = piece_stretch(orbit, start_s, times, begin)
                look_stretch(orbit[piece], start_s + piece * ORBIT_STEP_S, end - begin, scratch[begin:])
                begin = end
            for c in range(count):
                out[r, first + c] = scratch[SLANT * ROW_PX + c]


@numba.njit(nogil=True, cache=True)
def _follow(
    height: FloatArray,
    look: FloatArray,
    bound: FloatArray,
    step_rc: FloatArray,
    step_m: FloatArray,
    tan_incidence: FloatArray,
    frame: tuple[int, int, int],
    origin: tuple[int, int],
    at: tuple[int, int],
    high: float,
    out: BoolArray,
) -> int:
    node_step, node_row0, node_col0 = frame
    found = 0
    for r in range(out.shape[0]):
        i = (origin[0] + r) // node_step - node_row0
        for c in range(out.shape[1]):
            y, x = r + at[0], c + at[1]
            seen = look[y, x]
            if np.isnan(seen) or bound[y, x] < seen:
                continue
            j = (origin[1] + c) // node_step - node_col0
            dr, dc = step_rc[i, j, 0], step_rc[i, j, 1]
            if np.isnan(dr):
                continue
            dark = int((high - height[y, x]) * tan_incidence[i, j] * TANGENT_MARGIN / step_m[i, j]) + 1
            for k in range(1, dark + 1):
                v, u = y - k * dr, x - k * dc
                if v < 0.0 or u < 0.0 or v > look.shape[0] - 1 or u > look.shape[1] - 1:
                    break
                if sample_at(look, v, u) >= seen:
                    out[r, c] = True
                    found += 1
                    break
    return found


@numba.njit(nogil=True, cache=True, inline="always")
def sample_at(values, y, x):  # type: ignore[no-untyped-def]
    """Bilinear value inside the array; a NaN neighbour makes it NaN, which compares false."""
    i, j = int(y), int(x)
    v, u = y - i, x - j
    i1, j1 = min(i + 1, values.shape[0] - 1), min(j + 1, values.shape[1] - 1)
    top = values[i, j] + u * (values[i, j1] - values[i, j])
    low = values[i1, j] + u * (values[i1, j1] - values[i1, j])
    return top + v * (low - top)
