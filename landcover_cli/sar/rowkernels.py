"""Compiled kernels that work off a row of map pixels in stages; `rangedoppler` and `shadow` are built from them.

Every stage is a loop over pixels without branches, which the compiler turns into vector instructions: four places or
more at a time. What differs between pixels in kind (which piece of the orbit, which pair of conversions) is settled
before, by cutting the row into stretches that share it. No stage mixes pixels and none may reorder arithmetic, so that
where a row or a stretch begins changes no bit. Arrays are copied by loops: with an assignment of
slices, numba compiles the text of its error message, which takes seconds.

The stages hand over to each other in one array of `SLOTS` × `ROW_PX` numbers. Its slots lie at fixed distances: the
compiler can then see that they do not overlap.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

ORBIT_STEP_S = 0.5
CONVERGED_S = 1e-7
# Coefficients of a range polynomial that a stretch takes; products have 9 or 5.
TERMS = 10

ROW_PX = 512
# Surface, normal and seed of the node rows above and below: seven numbers each.
_NODE = 7
_BELOW = _NODE * ROW_PX
X, Y, Z, SEED, TIME, SLANT, PIXEL, SLOTS = 14, 15, 16, 17, 18, 19, 20, 21


@numba.njit(nogil=True, cache=True)
def _spread(nodes, row, frame, col0, count, slot, out):  # type: ignore[no-untyped-def]
    """Interpolate one row of nodes at the pixel columns."""
    step, _, node_col0 = frame
    inverse = 1.0 / step
    first = col0 // step - node_col0
    for n in range(nodes.shape[2]):
        j, k = first, col0 - (first + node_col0) * step
        low = nodes[row, j, n]
        rise = nodes[row, j + 1, n] - low
        target = out[(slot + n) * ROW_PX : (slot + n) * ROW_PX + count]
        for c in range(count):
            if k == step:
                j, k = j + 1, 0
                low = nodes[row, j, n]
                rise = nodes[row, j + 1, n] - low
            target[c] = low + k * inverse * rise
            k += 1


@numba.njit(nogil=True, cache=True)
def enter_row(surface, normal, seeds, frame, lattice_row, col0, count, fresh, scratch):  # type: ignore[no-untyped-def]
    """Bring the node rows around a lattice row into the scratch array, if it is not between the same ones as the last.

    Args:
        surface: [ny, nx, 3] node positions.
        normal: [ny, nx, 3] normals.
        seeds: [ny, nx, 1] zero-Doppler times of the nodes.
        frame: `GroundNodes.frame`.
        lattice_row: Row of the pixels; rows are entered one after the other.
        col0: Column of the first pixel.
        count: Pixels, `ROW_PX` at most.
        fresh: Whether this is the first row.
        scratch: [SLOTS · ROW_PX].

    Returns:
        Weight of the node row below.
    """
    step = frame[0]
    base = lattice_row // step
    if fresh or lattice_row == base * step:
        for side in range(2):
            i, slot = base - frame[1] + side, side * _NODE
            if side == 0 and not fresh:
                for c in range(_BELOW):
                    scratch[c] = scratch[_BELOW + c]
                continue
            _spread(surface, i, frame, col0, count, slot, scratch)
            _spread(normal, i, frame, col0, count, slot + 3, scratch)
            _spread(seeds, i, frame, col0, count, slot + 6, scratch)
    return (lattice_row - base * step) / step


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _between(s, slot, weight, c):  # type: ignore[no-untyped-def]
    above = s[slot * ROW_PX + c]
    return above + weight * (s[_BELOW + slot * ROW_PX + c] - above)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def row_places(weight, height, s):  # type: ignore[no-untyped-def]
    """Earth-centred places and seeds of a row at its heights."""
    for c in range(height.shape[0]):
        h = height[c]
        s[X * ROW_PX + c] = _between(s, 0, weight, c) + h * _between(s, 3, weight, c)
        s[Y * ROW_PX + c] = _between(s, 1, weight, c) + h * _between(s, 4, weight, c)
        s[Z * ROW_PX + c] = _between(s, 2, weight, c) + h * _between(s, 5, weight, c)
        s[SEED * ROW_PX + c] = _between(s, 6, weight, c)


@numba.njit(nogil=True, cache=True)
def piece_stretch(orbit, start_s, seeds, first):  # type: ignore[no-untyped-def]
    """The orbit piece of a pixel's seed, and the end of the stretch of pixels that share it; NaN goes with any."""
    last = orbit.shape[0] - 1
    piece = 0
    if seeds[first] == seeds[first]:
        piece = min(max(math.floor((seeds[first] - start_s) / ORBIT_STEP_S), 0), last)
    below = start_s + piece * ORBIT_STEP_S if piece > 0 else -np.inf
    above = start_s + (piece + 1) * ORBIT_STEP_S if piece < last else np.inf
    end = first + 1
    while end < seeds.shape[0] and not (seeds[end] < below or seeds[end] >= above):
        end += 1
    return piece, end


@numba.njit(nogil=True, cache=True)
def row_times(count, orbit, start_s, scratch):  # type: ignore[no-untyped-def]
    """Zero-Doppler times and slant ranges of the places of a row; time NaN where there is none."""
    seeds = scratch[SEED * ROW_PX : SEED * ROW_PX + count]
    first = 0
    while first < count:
        piece, end = piece_stretch(orbit, start_s, seeds, first)
        _zero_doppler(orbit[piece], start_s + piece * ORBIT_STEP_S, end - first, scratch[first:])
        first = end
    stop_s = start_s + orbit.shape[0] * ORBIT_STEP_S
    times = scratch[TIME * ROW_PX : TIME * ROW_PX + count]
    for c in range(count):
        times[c] = times[c] if times[c] >= start_s and times[c] <= stop_s else np.nan


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _zero_doppler(p, start_s, count, s):  # type: ignore[no-untyped-def]
    """Two Newton steps for a stretch of pixels on one piece of the orbit.

    The piece is that of the seed: beyond its end by the milliseconds that a step may go, it is as good as the next (at
    IPF 2.36, whose state vectors do not fit together, within 0.1 mm). The second step keeps the derivative of the
    first: over those milliseconds it changes by 1e-7 of itself. What the second step adds, some nanoseconds, moves the
    satellite along its velocity.
    """
    x0, x1, x2, x3 = p[0, 0], p[0, 1], p[0, 2], p[0, 3]
    y0, y1, y2, y3 = p[1, 0], p[1, 1], p[1, 2], p[1, 3]
    z0, z1, z2, z3 = p[2, 0], p[2, 1], p[2, 2], p[2, 3]
    for c in range(count):
        x, y, z = s[X * ROW_PX + c], s[Y * ROW_PX + c], s[Z * ROW_PX + c]
        u = s[SEED * ROW_PX + c] - start_s
        dx = x - (x0 + u * (x1 + u * (x2 + u * x3)))
        dy = y - (y0 + u * (y1 + u * (y2 + u * y3)))
        dz = z - (z0 + u * (z1 + u * (z2 + u * z3)))
        vx, ax = x1 + u * (2.0 * x2 + u * (3.0 * x3)), 2.0 * x2 + u * (6.0 * x3)
        vy, ay = y1 + u * (2.0 * y2 + u * (3.0 * y3)), 2.0 * y2 + u * (6.0 * y3)
        vz, az = z1 + u * (2.0 * z2 + u * (3.0 * z3)), 2.0 * z2 + u * (6.0 * z3)
        inverse = 1.0 / (vx * vx + vy * vy + vz * vz - (dx * ax + dy * ay + dz * az))
        u += (dx * vx + dy * vy + dz * vz) * inverse
        dx = x - (x0 + u * (x1 + u * (x2 + u * x3)))
        dy = y - (y0 + u * (y1 + u * (y2 + u * y3)))
        dz = z - (z0 + u * (z1 + u * (z2 + u * z3)))
        vx = x1 + u * (2.0 * x2 + u * (3.0 * x3))
        vy = y1 + u * (2.0 * y2 + u * (3.0 * y3))
        vz = z1 + u * (2.0 * z2 + u * (3.0 * z3))
        change = (dx * vx + dy * vy + dz * vz) * inverse
        dx, dy, dz = dx - vx * change, dy - vy * change, dz - vz * change
        s[TIME * ROW_PX + c] = start_s + (u + change) if abs(change) < CONVERGED_S else np.nan
        s[SLANT * ROW_PX + c] = math.sqrt(dx * dx + dy * dy + dz * dz)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def ground_stretch(low, high, sr0, origin_s, rate, count, s):  # type: ignore[no-untyped-def]
    """Ground ranges of a stretch of pixels between one pair of conversions.

    Args:
        low: [TERMS] coefficients of the earlier one, padded with zeros.
        high: [TERMS] of the later one.
        sr0: Their origins.
        origin_s: Time of the earlier one.
        rate: 1 / time between them; zero for a single one.
        count: Pixels.
        s: Scratch array from the first pixel of the stretch on; slot PIXEL receives metres.
    """
    first, second = sr0
    for c in range(count):
        x, y = s[SLANT * ROW_PX + c] - first, s[SLANT * ROW_PX + c] - second
        ground = other = 0.0
        for k in range(TERMS):
            ground = ground * x + low[TERMS - 1 - k]
            other = other * y + high[TERMS - 1 - k]
        weight = (s[TIME * ROW_PX + c] - origin_s) * rate
        s[PIXEL * ROW_PX + c] = ground + weight * (other - ground)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def look_stretch(p, start_s, count, s):  # type: ignore[no-untyped-def]
    """−cos of the angle at the satellite between the Earth's centre and the place, at the time of the seed.

    Written to slot SLANT; grows with the look angle.
    """
    x0, x1, x2, x3 = p[0, 0], p[0, 1], p[0, 2], p[0, 3]
    y0, y1, y2, y3 = p[1, 0], p[1, 1], p[1, 2], p[1, 3]
    z0, z1, z2, z3 = p[2, 0], p[2, 1], p[2, 2], p[2, 3]
    for c in range(count):
        u = s[SEED * ROW_PX + c] - start_s
        px = x0 + u * (x1 + u * (x2 + u * x3))
        py = y0 + u * (y1 + u * (y2 + u * y3))
        pz = z0 + u * (z1 + u * (z2 + u * z3))
        dx, dy, dz = s[X * ROW_PX + c] - px, s[Y * ROW_PX + c] - py, s[Z * ROW_PX + c] - pz
        lengths = math.sqrt((px * px + py * py + pz * pz) * (dx * dx + dy * dy + dz * dz))
        s[SLANT * ROW_PX + c] = (px * dx + py * dy + pz * dz) / lengths
