"""Layover and shadow on the map, by looking along the range line of each pixel.

Layover: another place nearer to the track has the same or a larger slant range, or one farther away the same or a
smaller one. Shadow: a nearer place is seen under the same or a larger look angle.

Only ground along the range lines is looked at, as far as its relief can reach. Before any line is followed, the largest
slant range and look angle of everything nearer, and the smallest slant range of everything farther, are swept over the
block in one pass each (`shadow.running_extreme`): where even those settle the matter, nothing is left to be followed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numpy as np
from numpy.typing import NDArray

from landcover_cli.sar.geocoding import RadarModel, geocode, seed_times
from landcover_cli.sar.ground import Block, MapLattice, ground_nodes
from landcover_cli.sar.shadow import TANGENT_MARGIN, look_angles, main_step, running_extreme, sample_at
from landcover_cli.sar.terrain import RELIEF_MARGIN_M, RangeDirection, range_direction

FloatArray = NDArray[np.float64]
CodeArray = NDArray[np.uint8]

SEEN = 0
LAYOVER = 1
SHADOW = 2
CODE_NODATA = 255
# Pixels around the ground that is searched, for interpolation.
RIM_PX = 2


def layover_shadow(
    model: RadarModel,
    lattice: MapLattice,
    block: Block,
    heights: Callable[[MapLattice, Block], FloatArray],
    height_range_m: tuple[float, float],
) -> CodeArray:
    """Codes of layover and shadow.

    Args:
        model: The product.
        lattice: The map grid.
        block: The pixels.
        heights: Gives the heights above the ellipsoid of any block of the lattice, NaN for unknown.
        height_range_m: Heights that no ground within reach goes below or exceeds; a wider range changes no code.

    Returns:
        [h, w] uint8: 0 seen, 1 layover, 2 shadow, 3 both, 255 nodata. Unknown ground hides nothing.
    """
    out = np.full(block.shape_yx, CODE_NODATA, dtype=np.uint8)
    nodes = ground_nodes(lattice, block)
    direction = range_direction(model, nodes, seed_times(model, nodes))
    wide = search_block(block, direction, height_range_m, height_range_m)
    if wide is None:
        return out
    ground = heights(lattice, wide)
    own = ground[_within(block, wide)]
    if not np.isfinite(own).any():
        return out
    # The relief at hand is mostly less than the scene's.
    reached = (float(np.nanmin(ground)), float(np.nanmax(ground)))
    narrow = search_block(block, direction, reached, (float(np.nanmin(own)), float(np.nanmax(own))))
    assert narrow is not None
    ground = np.ascontiguousarray(ground[_within(narrow, wide)])
    slant, look = _views(model, lattice, narrow, ground)
    step = main_step(direction)
    bounds = np.empty((3, *ground.shape))
    bounds[:2], bounds[2] = np.inf, -np.inf
    if step is not None:
        running_extreme(slant, step, bounds[0])
        running_extreme(look, step, bounds[1])
        running_extreme(-slant, (-step[0], -step[1]), bounds[2])
        np.negative(bounds[2], out=bounds[2])
    _march(
        ground,
        slant,
        look,
        bounds,
        np.ascontiguousarray(direction.step_rc),
        direction.step_m,
        direction.tan_incidence,
        nodes.frame,
        (block.row0, block.col0),
        (block.row0 - narrow.row0, block.col0 - narrow.col0),
        (reached[0] - RELIEF_MARGIN_M, reached[1] + RELIEF_MARGIN_M),
        out,
    )
    return out


def search_area_px(model: RadarModel, lattice: MapLattice, block: Block, height_range_m: tuple[float, float]) -> int:
    """Pixels that `layover_shadow` of a block looks at, at most."""
    nodes = ground_nodes(lattice, block)
    wide = search_block(block, range_direction(model, nodes, seed_times(model, nodes)), height_range_m, height_range_m)
    return 0 if wide is None else wide.height * wide.width


def search_block(
    block: Block, direction: RangeDirection, ground_m: tuple[float, float], own_m: tuple[float, float]
) -> Block | None:
    """A block with the ground before and behind it that can lay over it or shade it.

    Args:
        block: The pixels.
        direction: `range_direction` of its nodes.
        ground_m: Lowest and highest height of the ground around.
        own_m: Lowest and highest height of the pixels.

    Returns:
        The wider block; None where the radar sees nothing of it.
    """
    seen = np.isfinite(direction.step_m)
    if not seen.any():
        return None
    rise = max(ground_m[1] - own_m[0], 0.0) + RELIEF_MARGIN_M
    fall = max(own_m[1] - ground_m[0], 0.0) + RELIEF_MARGIN_M
    tangent, metres = direction.tan_incidence[seen], float(direction.step_m[seen].min())
    # Layover needs ground lower (before) or higher (behind) by distance / tan; shadow, higher before by distance × tan.
    before = max(fall / float(tangent.min()), rise * float(tangent.max())) * TANGENT_MARGIN / metres
    behind = rise / float(tangent.min()) * TANGENT_MARGIN / metres
    near, far = math.ceil(before), math.ceil(behind)

    def pads(forwards: FloatArray) -> tuple[int, int]:
        low, high = float(forwards.min()), float(forwards.max())
        return (
            math.ceil(max(near * high, -far * low, 0.0)) + RIM_PX,
            math.ceil(max(far * high, -near * low, 0.0)) + RIM_PX,
        )

    up, down = pads(direction.step_rc[seen][:, 0])
    left, right = pads(direction.step_rc[seen][:, 1])
    return Block(block.row0 - up, block.col0 - left, block.height + up + down, block.width + left + right)


def _within(part: Block, whole: Block) -> tuple[slice, slice]:
    top, left = part.row0 - whole.row0, part.col0 - whole.col0
    return slice(top, top + part.height), slice(left, left + part.width)


def _views(model: RadarModel, lattice: MapLattice, block: Block, height_m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Slant ranges and look angles of a block."""
    nodes = ground_nodes(lattice, block)
    seeds = seed_times(model, nodes)
    return geocode(model, nodes, seeds, block, height_m).slant_m, look_angles(model, nodes, seeds, block, height_m)


@numba.njit(nogil=True, cache=True)
def _march(
    height: FloatArray,
    slant: FloatArray,
    look: FloatArray,
    bounds: FloatArray,
    step_rc: FloatArray,
    step_m: FloatArray,
    tan_incidence: FloatArray,
    frame: tuple[int, int, int],
    origin: tuple[int, int],
    at: tuple[int, int],
    relief: tuple[float, float],
    out: CodeArray,
) -> None:
    node_step, node_row0, node_col0 = frame
    for r in range(out.shape[0]):
        i = (origin[0] + r) // node_step - node_row0
        for c in range(out.shape[1]):
            y, x = r + at[0], c + at[1]
            here, seen = slant[y, x], look[y, x]
            j = (origin[1] + c) // node_step - node_col0
            dr, dc = step_rc[i, j, 0], step_rc[i, j, 1]
            if np.isnan(here) or np.isnan(dr):
                out[r, c] = CODE_NODATA
                continue
            fall, rise = height[y, x] - relief[0], relief[1] - height[y, x]
            along, tangent = TANGENT_MARGIN / step_m[i, j], tan_incidence[i, j]
            near, far, dark = fall * along / tangent, rise * along / tangent, rise * along * tangent
            laid = bounds[0, y, x] >= here and _meets(slant, here, 1.0, (y, x), (-dr, -dc), int(near) + 1)
            if not laid and bounds[2, y, x] <= here:
                laid = _meets(slant, here, -1.0, (y, x), (dr, dc), int(far) + 1)
            code = LAYOVER if laid else SEEN
            if bounds[1, y, x] >= seen and _meets(look, seen, 1.0, (y, x), (-dr, -dc), int(dark) + 1):
                code |= SHADOW
            out[r, c] = code


@numba.njit(nogil=True, cache=True)
def _meets(
    values: FloatArray, own: float, sign: float, at: tuple[int, int], step: tuple[float, float], steps: int
) -> bool:
    """Whether a value on a line is at least one's own (at most, for sign −1)."""
    for k in range(1, steps + 1):
        v, u = at[0] + k * step[0], at[1] + k * step[1]
        if v < 0.0 or u < 0.0 or v > values.shape[0] - 1 or u > values.shape[1] - 1:
            return False
        if sign * sample_at(values, v, u) >= sign * own:
            return True
    return False
