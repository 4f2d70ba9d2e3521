"""Compiled kernels of the Range-Doppler equations; `geocoding` is their face and explains them."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from landcover_cli.sar.rowkernels import (
    CONVERGED_S,
    ORBIT_STEP_S,
    PIXEL,
    ROW_PX,
    SLANT,
    SLOTS,
    TERMS,
    TIME,
    enter_row,
    ground_stretch,
    row_places,
    row_times,
)
from landcover_cli.sar.srgr import range_inverse, record_pair

FloatArray = NDArray[np.float64]
# Times; origins and coefficients of srgr; of grsr; take the nearest record; invert grsr.
Conversions = tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, bool, bool]

SEED_STEPS = 12
# Newton doubles the digits: after a step of a microsecond nothing is left to be gained.
SEED_S = 1e-6


@numba.njit(nogil=True, cache=True, inline="always")
def orbit_piece(orbit, start_s, time_s):  # type: ignore[no-untyped-def]
    """Position, velocity and acceleration at one time (nine numbers); the end pieces serve beyond their ends."""
    m = math.floor((time_s - start_s) / ORBIT_STEP_S)
    m = min(max(m, 0), orbit.shape[0] - 1)
    u = time_s - start_s - m * ORBIT_STEP_S
    px = orbit[m, 0, 0] + u * (orbit[m, 0, 1] + u * (orbit[m, 0, 2] + u * orbit[m, 0, 3]))
    py = orbit[m, 1, 0] + u * (orbit[m, 1, 1] + u * (orbit[m, 1, 2] + u * orbit[m, 1, 3]))
    pz = orbit[m, 2, 0] + u * (orbit[m, 2, 1] + u * (orbit[m, 2, 2] + u * orbit[m, 2, 3]))
    vx = orbit[m, 0, 1] + u * (2.0 * orbit[m, 0, 2] + u * 3.0 * orbit[m, 0, 3])
    vy = orbit[m, 1, 1] + u * (2.0 * orbit[m, 1, 2] + u * 3.0 * orbit[m, 1, 3])
    vz = orbit[m, 2, 1] + u * (2.0 * orbit[m, 2, 2] + u * 3.0 * orbit[m, 2, 3])
    ax = 2.0 * orbit[m, 0, 2] + 6.0 * u * orbit[m, 0, 3]
    ay = 2.0 * orbit[m, 1, 2] + 6.0 * u * orbit[m, 1, 3]
    az = 2.0 * orbit[m, 2, 2] + 6.0 * u * orbit[m, 2, 3]
    return px, py, pz, vx, vy, vz, ax, ay, az


@numba.njit(nogil=True, cache=True, inline="always")
def _step(orbit, start_s, time_s, x, y, z):  # type: ignore[no-untyped-def]
    """One Newton step: what to add to the time."""
    px, py, pz, vx, vy, vz, ax, ay, az = orbit_piece(orbit, start_s, time_s)
    dx, dy, dz = x - px, y - py, z - pz
    return (dx * vx + dy * vy + dz * vz) / (vx * vx + vy * vy + vz * vz - (dx * ax + dy * ay + dz * az))


@numba.njit(nogil=True, cache=True)
def seed_kernel(orbit: FloatArray, start_s: float, middle_s: float, surface: FloatArray, out: FloatArray) -> None:
    """Zero-Doppler times of places [ny, nx, 3] from one common first guess; NaN where not seen."""
    stop_s = start_s + orbit.shape[0] * ORBIT_STEP_S
    for i in range(surface.shape[0]):
        for j in range(surface.shape[1]):
            x, y, z = surface[i, j, 0], surface[i, j, 1], surface[i, j, 2]
            t, change = middle_s, 0.0
            for _ in range(SEED_STEPS):
                change = _step(orbit, start_s, t, x, y, z)
                # Beyond its ends a cubic piece soon leaves the orbit: never evaluate it there.
                t = min(max(t + change, start_s), stop_s)
                if abs(change) < SEED_S:
                    break
            px, py, pz, vx, vy, vz, _ax, _ay, _az = orbit_piece(orbit, start_s, t)
            right = (x - px) * (vy * pz - vz * py) + (y - py) * (vz * px - vx * pz) + (z - pz) * (vx * py - vy * px)
            out[i, j] = t if abs(change) < 1e-3 and right > 0.0 else np.nan


@numba.njit(nogil=True, cache=True, inline="always")
def _ground_range(time_s, slant, conversions):  # type: ignore[no-untyped-def]
    times, sr0, srgr, gr0, grsr, nearest, invert = conversions
    low, high, weight = record_pair(time_s, times, nearest)
    # Both sums side by side: two chains of additions wait for each other less than one after the other.
    x, y = slant - sr0[low], slant - sr0[high]
    ground = other = 0.0
    for k in range(srgr.shape[1] - 1, -1, -1):
        ground = ground * x + srgr[low, k]
        other = other * y + srgr[high, k]
    ground += weight * (other - ground)
    if invert:
        ground, _slope = range_inverse(slant, ground, time_s, times, gr0, grsr, nearest)
    return ground


@numba.njit(nogil=True, cache=True, inline="always")
def _place(orbit, start_s, grid, conversions, x, y, z, seed_s):  # type: ignore[no-untyped-def]
    """Line, pixel, time and slant range of one place.

    The second step keeps the derivative of the first: over the millisecond between them it changes by 1e-7 of itself.
    What the second step adds, some nanoseconds, moves the satellite along its velocity.
    """
    px, py, pz, vx, vy, vz, ax, ay, az = orbit_piece(orbit, start_s, seed_s)
    dx, dy, dz = x - px, y - py, z - pz
    slope = vx * vx + vy * vy + vz * vz - (dx * ax + dy * ay + dz * az)
    first_s = seed_s + (dx * vx + dy * vy + dz * vz) / slope
    px, py, pz, vx, vy, vz, _ax, _ay, _az = orbit_piece(orbit, start_s, first_s)
    dx, dy, dz = x - px, y - py, z - pz
    change = (dx * vx + dy * vy + dz * vz) / slope
    t = first_s + change
    if not (abs(change) < CONVERGED_S and start_s <= t <= start_s + orbit.shape[0] * ORBIT_STEP_S):
        return np.nan, np.nan, np.nan, np.nan
    slant = math.sqrt((dx - vx * change) ** 2 + (dy - vy * change) ** 2 + (dz - vz * change) ** 2)
    line = (t - grid[0]) * grid[1]
    if conversions[0].shape[0] > 0:
        return line, _ground_range(t, slant, conversions) * grid[3], t, slant
    return line, (slant - grid[2]) * grid[3], t, slant


@numba.njit(nogil=True, cache=True)
def locate_kernel(
    orbit: FloatArray,
    start_s: float,
    grid: tuple[float, float, float, float],
    conversions: Conversions,
    position: FloatArray,
    seeds: FloatArray,
    out: FloatArray,
) -> None:
    """[4, N] line, pixel, time and slant range of [N, 3] places with [N] seeds."""
    for i in range(position.shape[0]):
        x, y, z = position[i, 0], position[i, 1], position[i, 2]
        place = _place(orbit, start_s, grid, conversions, x, y, z, seeds[i])
        for k in range(4):
            out[k, i] = place[k]


@numba.njit(nogil=True, cache=True)
def _row_ground(times, slants, grounds, conversions, coefficients, scratch):  # type: ignore[no-untyped-def]
    """Ground ranges of a row, stretch by stretch; one by one where the nearest one holds or it has to be inverted."""
    records_s, sr0, srgr, _gr0, _grsr, nearest, invert = conversions
    count, last = times.shape[0], records_s.shape[0] - 1
    plain = srgr.shape[1] <= TERMS and not nearest and not invert
    first = 0
    while first < count:
        t = times[first]
        end = first + 1
        if np.isnan(t):
            grounds[first] = np.nan
        elif not plain:
            grounds[first] = _ground_range(t, slants[first], conversions)
        else:
            low, high, _weight = record_pair(t, records_s, nearest)
            start_s, stop_s, rate = records_s[low], records_s[high], 0.0
            if low == high:
                start_s, stop_s = (-np.inf, records_s[0]) if low < last else (records_s[last], np.inf)
                origin_s = records_s[low]
            else:
                origin_s, rate = start_s, 1.0 / (stop_s - start_s)
            while end < count and times[end] >= start_s and times[end] < stop_s:
                end += 1
            ends = sr0[low], sr0[high]
            ground_stretch(coefficients[low], coefficients[high], ends, origin_s, rate, end - first, scratch[first:])
        first = end


@numba.njit(nogil=True, cache=True)
def geocode_kernel(
    orbit: FloatArray,
    start_s: float,
    grid: tuple[float, float, float, float],
    conversions: Conversions,
    surface: FloatArray,
    normal: FloatArray,
    seeds: FloatArray,
    frame: tuple[int, int, int],
    origin: tuple[int, int],
    height: FloatArray,
    out: FloatArray,
) -> None:
    """[4, h, w] line, pixel, time and slant range of the pixels of a map block; arguments as in `geocoding.geocode`."""
    scratch = np.empty(SLOTS * ROW_PX)
    given = conversions[2]
    coefficients = np.zeros((given.shape[0], max(TERMS, given.shape[1])))
    for record in range(given.shape[0]):
        for k in range(given.shape[1]):
            coefficients[record, k] = given[record, k]
    for first in range(0, height.shape[1], ROW_PX):
        count = min(ROW_PX, height.shape[1] - first)
        times, slants, pixels = (
            scratch[TIME * ROW_PX : TIME * ROW_PX + count],
            scratch[SLANT * ROW_PX : SLANT * ROW_PX + count],
            scratch[PIXEL * ROW_PX : PIXEL * ROW_PX + count],
        )
        for r in range(height.shape[0]):
            row, col = origin[0] + r, origin[1] + first
            weight = enter_row(surface, normal, seeds, frame, row, col, count, r == 0, scratch)
            row_places(weight, height[r, first : first + count], scratch)
            row_times(count, orbit, start_s, scratch)
            if conversions[0].shape[0] > 0:
                _row_ground(times, slants, pixels, conversions, coefficients, scratch)
            else:
                for c in range(count):
                    pixels[c] = slants[c] - grid[2]
            _row_out(times, slants, pixels, grid, out[:, r, first : first + count])


@numba.njit(nogil=True, cache=True)
def _row_out(times, slants, pixels, grid, out):  # type: ignore[no-untyped-def]
    for c in range(times.shape[0]):
        t = times[c]
        seen = not np.isnan(t)
        out[0, c] = (t - grid[0]) * grid[1]
        out[1, c] = pixels[c] * grid[3] if seen else np.nan
        out[2, c] = t
        out[3, c] = slants[c] if seen else np.nan


@numba.njit(nogil=True, cache=True)
def position_kernel(orbit: FloatArray, start_s: float, time_s: FloatArray, out: FloatArray) -> None:
    """[N, 3] positions of the satellite at [N] times."""
    for i in range(time_s.shape[0]):
        px, py, pz, _vx, _vy, _vz, _ax, _ay, _az = orbit_piece(orbit, start_s, time_s[i])
        out[i, 0], out[i, 1], out[i, 2] = px, py, pz
