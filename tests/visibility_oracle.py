"""Layover and shadow by following every range line over a wide square of ground: slow, and simple."""

from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numpy as np

from landcover_cli.sar.geocoding import RadarModel, geocode, satellite_position, seed_times
from landcover_cli.sar.ground import Block, MapLattice, ground_nodes, ground_positions
from landcover_cli.sar.terrain import range_direction
from landcover_cli.sar.visibility import CODE_NODATA, LAYOVER, SEEN, SHADOW


def codes_by_marching(
    model: RadarModel,
    lattice: MapLattice,
    block: Block,
    heights: Callable[[MapLattice, Block], np.ndarray],
    relief_m: float,
) -> np.ndarray:
    """[h, w] codes of `landcover_cli.sar.visibility`, from all the ground that relief can reach.

    The steepest incidence of IW and EW is 18°: 3.1 metres of ground per metre of relief.
    """
    halo = math.ceil((relief_m + 15.0) / math.tan(math.radians(18.0)) / lattice.pixel_m) + 2
    wide = block.padded(halo)
    height, nodes = heights(lattice, wide), ground_nodes(lattice, wide)
    seeds = seed_times(model, nodes)
    place = geocode(model, nodes, seeds, wide, height)
    satellite = satellite_position(model, place.time_s)
    view = ground_positions(nodes, wide, height) - satellite
    # Grows with the look angle at the satellite.
    look = (satellite * view).sum(-1) / np.linalg.norm(satellite, axis=-1) / np.linalg.norm(view, axis=-1)
    direction = range_direction(model, nodes, seeds)
    out = np.empty(block.shape_yx, dtype=np.uint8)
    _march(place.slant_m, look, direction.step_rc.copy(), nodes.frame, (block.row0, block.col0), halo, out)
    return out


@numba.njit
def _march(
    slant: np.ndarray,
    look: np.ndarray,
    step_rc: np.ndarray,
    frame: tuple[int, int, int],
    origin: tuple[int, int],
    halo: int,
    out: np.ndarray,
) -> None:
    node_step, node_row0, node_col0 = frame
    for r in range(out.shape[0]):
        i = (origin[0] + r) // node_step - node_row0
        for c in range(out.shape[1]):
            y, x = r + halo, c + halo
            j = (origin[1] + c) // node_step - node_col0
            dr, dc = step_rc[i, j, 0], step_rc[i, j, 1]
            if np.isnan(slant[y, x]) or np.isnan(dr):
                out[r, c] = CODE_NODATA
                continue
            code = SEEN
            for k in range(1, halo):
                if _sample(slant, y - k * dr, x - k * dc) >= slant[y, x]:
                    code |= LAYOVER
                if _sample(slant, y + k * dr, x + k * dc) <= slant[y, x]:
                    code |= LAYOVER
                if _sample(look, y - k * dr, x - k * dc) >= look[y, x]:
                    code |= SHADOW
            out[r, c] = code


@numba.njit
def _sample(values, y, x):  # type: ignore[no-untyped-def]
    """Bilinear value inside the array; NaN compares false, so that unknown ground hides nothing."""
    i, j = int(y), int(x)
    v, u = y - i, x - j
    i1, j1 = min(i + 1, values.shape[0] - 1), min(j + 1, values.shape[1] - 1)
    top = values[i, j] + u * (values[i, j1] - values[i, j])
    low = values[i1, j] + u * (values[i1, j1] - values[i1, j])
    return top + v * (low - top)
