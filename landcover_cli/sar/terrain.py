"""What the terrain does to the radar's view: local incidence, and which way the range grows.

All of it is computed on the map grid from Earth-centred positions, so that no map projection bends an angle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from landcover_cli.sar.geocoding import RadarModel, satellite_position
from landcover_cli.sar.ground import GroundNodes
from landcover_cli.sar.rangedoppler import orbit_piece

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]

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
