"""What the terrain does to the radar's view: local incidence, layover and shadow.

All of it is computed on the map grid from Earth-centred positions, so that no map projection bends an angle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from landcover_cli.sar.geocoding import RadarCoordinates, RadarModel, satellite_position
from landcover_cli.sar.ground import Block, GroundNodes
from landcover_cli.sar.rangedoppler import orbit_piece

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
CodeArray = NDArray[np.uint8]

SEEN = 0
LAYOVER = 1
SHADOW = 2
CODE_NODATA = 255
# Relief that the search for layover and shadow adds to the block's own, against rounding and the Earth's curvature.
RELIEF_MARGIN_M = 15.0


def local_incidence_deg(model: RadarModel, position_m: FloatArray, time_s: FloatArray) -> Float32Array:
    """Angle between the terrain's normal and the direction to the satellite.

    Args:
        model: The product.
        position_m: [h + 2, w + 2, 3] positions of the block with a rim of one pixel.
        time_s: [h, w] zero-Doppler times of the block.

    Returns:
        [h, w] degrees, 0..180; above 90 the slope faces away. NaN where one of the four neighbours is unknown.
    """
    out = np.empty(time_s.shape, dtype=np.float32)
    _incidence(model.orbit, model.orbit_start_s, position_m, np.ascontiguousarray(time_s), out)
    return out


def terrain_normals(position_m: FloatArray) -> FloatArray:
    """Upward unit normals by central differences.

    Args:
        position_m: [h + 2, w + 2, 3] Earth-centred positions, rows southwards, columns eastwards.

    Returns:
        [h, w, 3] unit vectors, NaN where a neighbour is unknown.
    """
    south = position_m[2:, 1:-1] - position_m[:-2, 1:-1]
    east = position_m[1:-1, 2:] - position_m[1:-1, :-2]
    normal = np.cross(south, east)
    return np.asarray(normal / np.linalg.norm(normal, axis=-1, keepdims=True))


@dataclass(frozen=True, slots=True, eq=False)
class RangeDirection:
    """Which way the range grows on the map, one value per node cell.

    Attributes:
        step_rc: [ny, nx, 2] rows and columns of one march step; the larger one is a whole pixel.
        step_m: [ny, nx] its length on the ground.
        tan_incidence: [ny, nx] tangent of the incidence angle on the ellipsoid.
    """

    step_rc: FloatArray
    step_m: FloatArray
    tan_incidence: FloatArray


def range_direction(model: RadarModel, nodes: GroundNodes, seeds_s: FloatArray) -> RangeDirection:
    """The direction of increasing ground range at constant azimuth time.

    A zero-Doppler plane holds the satellite, the place and nearly the vertical; its trace on the ground is the
    horizontal part of the look vector.

    Args:
        model: The product.
        nodes: Nodes of the map lattice.
        seeds_s: `seed_times` of the nodes.

    Returns:
        Values of the cells between nodes, [ny − 1, nx − 1]; NaN where not seen.
    """
    surface, normal = nodes.surface_m[:-1, :-1], nodes.normal[:-1, :-1]
    look = surface - satellite_position(model, np.ascontiguousarray(seeds_s[:-1, :-1]))
    look /= np.linalg.norm(look, axis=-1, keepdims=True)
    cosine = -(look * normal).sum(-1)
    ground = look + cosine[..., None] * normal
    ground /= np.linalg.norm(ground, axis=-1, keepdims=True)
    down = (nodes.surface_m[1:, :-1] - surface) / nodes.step_px
    right = (nodes.surface_m[:-1, 1:] - surface) / nodes.step_px
    a, b, c = (down * down).sum(-1), (down * right).sum(-1), (right * right).sum(-1)
    p, q = (down * ground).sum(-1), (right * ground).sum(-1)
    determinant = a * c - b * b
    rows, cols = (c * p - b * q) / determinant, (a * q - b * p) / determinant
    metres = 1.0 / np.maximum(np.abs(rows), np.abs(cols))
    steps = np.stack([rows * metres, cols * metres], axis=-1)
    return RangeDirection(steps, metres, np.sqrt(1.0 - cosine**2) / cosine)


def search_halo_px(relief_m: float, pixel_m: float, incidence_deg: tuple[float, float] = (18.0, 47.0)) -> int:
    """How far a slope can throw layover or shadow.

    Args:
        relief_m: Highest minus lowest height of the scene.
        pixel_m: Pixel size.
        incidence_deg: Smallest and largest incidence angle of the mode (IW and EW: 18° to 47°).

    Returns:
        Pixels of halo within which every layover and shadow of the relief is found.
    """
    reach = max(1.0 / math.tan(math.radians(incidence_deg[0])), math.tan(math.radians(incidence_deg[1])))
    return math.ceil((relief_m + RELIEF_MARGIN_M) * reach / pixel_m) + 2


def layover_shadow(
    model: RadarModel,
    nodes: GroundNodes,
    direction: RangeDirection,
    block: Block,
    halo_px: int,
    height_m: FloatArray,
    coordinates: RadarCoordinates,
    position_m: FloatArray,
) -> CodeArray:
    """Codes of layover and shadow, by looking along the range line of each pixel.

    Layover: another place nearer to the track has the same or a larger slant range, or one farther away the same or a
    smaller one. Shadow: a nearer place is seen under the same or a larger look angle. The search ends where the relief
    of the padded block cannot reach any more.

    Args:
        model: The product.
        nodes: Nodes around the padded block.
        direction: `range_direction` of the nodes.
        block: The block without its halo.
        halo_px: Rim of the following arrays around the block; `search_halo_px` of the scene's relief.
        height_m: [h + 2 halo, w + 2 halo] heights above the ellipsoid.
        coordinates: `geocode` of the padded block.
        position_m: [h + 2 halo, w + 2 halo, 3] its positions.

    Returns:
        [h, w] uint8: 0 seen, 1 layover, 2 shadow, 3 both, 255 nodata.
    """
    out = np.empty(block.shape_yx, dtype=np.uint8)
    look = np.empty(height_m.shape)
    _look(model.orbit, model.orbit_start_s, position_m, coordinates.time_s, look)
    finite = height_m[np.isfinite(height_m)]
    low = float(finite.min()) - RELIEF_MARGIN_M if finite.size else 0.0
    high = float(finite.max()) + RELIEF_MARGIN_M if finite.size else 0.0
    _march(
        np.ascontiguousarray(height_m, dtype=np.float64),
        coordinates.slant_m,
        look,
        np.ascontiguousarray(direction.step_rc),
        direction.step_m,
        direction.tan_incidence,
        nodes.frame,
        (block.row0, block.col0),
        halo_px,
        low,
        high,
        out,
    )
    return out


@numba.njit(nogil=True, cache=True)
def _incidence(orbit: FloatArray, start_s: float, position: FloatArray, time_s: FloatArray, out: Float32Array) -> None:
    for r in range(out.shape[0]):
        for c in range(out.shape[1]):
            t = time_s[r, c]
            if np.isnan(t):
                out[r, c] = np.nan
                continue
            sx = position[r + 2, c + 1, 0] - position[r, c + 1, 0]
            sy = position[r + 2, c + 1, 1] - position[r, c + 1, 1]
            sz = position[r + 2, c + 1, 2] - position[r, c + 1, 2]
            ex = position[r + 1, c + 2, 0] - position[r + 1, c, 0]
            ey = position[r + 1, c + 2, 1] - position[r + 1, c, 1]
            ez = position[r + 1, c + 2, 2] - position[r + 1, c, 2]
            nx, ny, nz = sy * ez - sz * ey, sz * ex - sx * ez, sx * ey - sy * ex
            px, py, pz, _vx, _vy, _vz, _ax, _ay, _az = orbit_piece(orbit, start_s, t)
            dx, dy, dz = px - position[r + 1, c + 1, 0], py - position[r + 1, c + 1, 1], pz - position[r + 1, c + 1, 2]
            lengths = math.sqrt((nx * nx + ny * ny + nz * nz) * (dx * dx + dy * dy + dz * dz))
            cosine = (nx * dx + ny * dy + nz * dz) / lengths
            # min and max would turn NaN into a number.
            angle = np.nan if np.isnan(cosine) else math.degrees(math.acos(min(1.0, max(-1.0, cosine))))
            out[r, c] = np.float32(angle)


@numba.njit(nogil=True, cache=True)
def _look(orbit: FloatArray, start_s: float, position: FloatArray, time_s: FloatArray, out: FloatArray) -> None:
    """−cos of the angle at the satellite between the Earth's centre and the place: grows with the look angle."""
    for r in range(out.shape[0]):
        for c in range(out.shape[1]):
            px, py, pz, _vx, _vy, _vz, _ax, _ay, _az = orbit_piece(orbit, start_s, time_s[r, c])
            dx, dy, dz = position[r, c, 0] - px, position[r, c, 1] - py, position[r, c, 2] - pz
            lengths = math.sqrt((px * px + py * py + pz * pz) * (dx * dx + dy * dy + dz * dz))
            out[r, c] = (px * dx + py * dy + pz * dz) / lengths


@numba.njit(nogil=True, cache=True)
def _march(
    height: FloatArray,
    slant: FloatArray,
    look: FloatArray,
    step_rc: FloatArray,
    step_m: FloatArray,
    tan_incidence: FloatArray,
    frame: tuple[int, int, int],
    origin: tuple[int, int],
    halo: int,
    low: float,
    high: float,
    out: CodeArray,
) -> None:
    node_step, node_row0, node_col0 = frame
    for r in range(out.shape[0]):
        i = (origin[0] + r) // node_step - node_row0
        for c in range(out.shape[1]):
            y, x = r + halo, c + halo
            here, seen = slant[y, x], look[y, x]
            j = (origin[1] + c) // node_step - node_col0
            dr, dc, metres, tangent = step_rc[i, j, 0], step_rc[i, j, 1], step_m[i, j], tan_incidence[i, j]
            if np.isnan(here) or np.isnan(dr):
                out[r, c] = CODE_NODATA
                continue
            code = SEEN
            # A nearer place as far away must lie lower by distance × tan(incidence); a farther one higher by as much.
            near = halo if metres <= 0.0 else min(halo - 1, int((height[y, x] - low) / (metres * tangent)) + 1)
            far = min(halo - 1, int((high - height[y, x]) / (metres * tangent)) + 1)
            dark = min(halo - 1, int((high - height[y, x]) * tangent / metres) + 1)
            for k in range(1, max(near, dark) + 1):
                if k <= near and not code & LAYOVER and _sample(slant, y - k * dr, x - k * dc) >= here:
                    code |= LAYOVER
                if k <= dark and not code & SHADOW and _sample(look, y - k * dr, x - k * dc) >= seen:
                    code |= SHADOW
            k = 1
            while k <= far and not code & LAYOVER:
                if _sample(slant, y + k * dr, x + k * dc) <= here:
                    code |= LAYOVER
                k += 1
            out[r, c] = code


@numba.njit(nogil=True, cache=True, inline="always")
def _sample(values, y, x):  # type: ignore[no-untyped-def]
    """Bilinear value inside the array; NaN compares false, so that unknown ground hides nothing."""
    i, j = int(y), int(x)
    v, u = y - i, x - j
    i1, j1 = min(i + 1, values.shape[0] - 1), min(j + 1, values.shape[1] - 1)
    top = values[i, j] + u * (values[i, j1] - values[i, j])
    low = values[i1, j] + u * (values[i1, j1] - values[i1, j])
    return top + v * (low - top)
