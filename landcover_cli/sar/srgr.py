"""Between slant range and ground range of a GRD, in both directions.

Every coordinate-conversion record holds two polynomials: GRSR, slant = Σ grsr_k (ground − gr0)^k, by which the
processor resampled the image, and SRGR, ground = Σ srgr_k (slant − sr0)^k, a fit to its inverse. In the geolocation
grids at hand GRSR returns the processor's slant range to 1e-9 m, SRGR misses it by 0.008 pixel with nine coefficients
and by 4 pixels with the five of IPF 2.36. GRSR is therefore the default; SRGR is what other software uses.

Between two records the result is linear in azimuth time ("linear", the mode for processing), or the nearest record is
taken ("nearest", as in the processor's own geolocation grid). Before the first and after the last, that record holds.

Source: Sentinel-1 Product Specification S1-RSL-MDA-52-7441, coordinate conversion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numba
import numpy as np

from landcover_cli.errors import InputError
from landcover_cli.sar.types import SPEED_OF_LIGHT_MS, FloatArray, SrgrRecord

SrgrMode = Literal["linear", "nearest"]
SrgrPolynomial = Literal["grsr", "srgr"]
# Newton starts from the other polynomial and needs two or three steps; the bound guards against damaged records.
_MAX_STEPS = 12
_TOLERANCE_M = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class SrgrTable:
    """All records as arrays, for compiled kernels.

    Attributes:
        time_s: [R] increasing azimuth times, seconds since the product epoch.
        sr0_m: [R] origins of the slant-range polynomials.
        srgr: [R, K] slant to ground, constant first, padded with zeros.
        gr0_m: [R] origins of the ground-range polynomials.
        grsr: [R, L] ground to slant, constant first, padded with zeros.
    """

    time_s: FloatArray
    sr0_m: FloatArray
    srgr: FloatArray
    gr0_m: FloatArray
    grsr: FloatArray


def srgr_table(records: Sequence[SrgrRecord], *, product_id: str = "product") -> SrgrTable:
    """Arrange the records of an annotation.

    Args:
        records: By increasing azimuth time, at least one; records of different length are padded.
        product_id: What to call the product in errors.

    Returns:
        The table.

    Raises:
        InputError: There is no record (an SLC has none), or times do not increase.
    """
    time_s = np.array([r.azimuth_time_s for r in records], dtype=np.float64)
    if not len(records) or (np.diff(time_s) <= 0).any():
        raise InputError(
            f"{product_id}: {len(records)} slant-to-ground records, of which one or more with increasing times are "
            "needed",
            remedy="give a GRD product; an SLC has none",
        )

    def padded(rows: list[FloatArray]) -> FloatArray:
        out = np.zeros((len(rows), max(len(r) for r in rows)))
        for i, row in enumerate(rows):
            out[i, : len(row)] = row
        return out

    return SrgrTable(
        time_s=time_s,
        sr0_m=np.array([r.sr0_m for r in records], dtype=np.float64),
        srgr=padded([r.srgr for r in records]),
        gr0_m=np.array([r.gr0_m for r in records], dtype=np.float64),
        grsr=padded([r.grsr for r in records]),
    )


@numba.njit(cache=True, nogil=True)
def record_pair(time_s, records_s, nearest):  # type: ignore[no-untyped-def]
    """The two records around a time and the weight of the second; for use inside kernels.

    Args:
        time_s: Azimuth time.
        records_s: `SrgrTable.time_s`.
        nearest: Whether to take the nearest record alone.

    Returns:
        (index before, index after, weight of the latter).
    """
    last = records_s.shape[0] - 1
    if time_s <= records_s[0] or last == 0:
        return 0, 0, 0.0
    if time_s >= records_s[last]:
        return last, last, 0.0
    # The last record at or before the time, by halving: np.searchsorted takes half a second more to compile.
    i, above = 0, last
    while above - i > 1:
        middle = (i + above) // 2
        if records_s[middle] <= time_s:
            i = middle
        else:
            above = middle
    weight = (time_s - records_s[i]) / (records_s[i + 1] - records_s[i])
    if nearest:
        i = i + 1 if weight > 0.5 else i
        return i, i, 0.0
    return i, i + 1, weight


@numba.njit(cache=True, nogil=True)
def range_at(x_m, time_s, records_s, origin_m, coefficients, nearest):  # type: ignore[no-untyped-def]
    """Value and slope of either polynomial at one point; for use inside kernels.

    Args:
        x_m: Slant range for `srgr`, ground range for `grsr`.
        time_s: Azimuth time.
        records_s: `SrgrTable.time_s`.
        origin_m: `SrgrTable.sr0_m` or `gr0_m`.
        coefficients: `SrgrTable.srgr` or `grsr`.
        nearest: Whether to take the nearest record alone.

    Returns:
        (the other range in metres, its derivative by x).
    """
    low, high, weight = record_pair(time_s, records_s, nearest)
    value, slope = _polynomial(x_m - origin_m[low], coefficients, low)
    if weight > 0.0:
        value_b, slope_b = _polynomial(x_m - origin_m[high], coefficients, high)
        value += weight * (value_b - value)
        slope += weight * (slope_b - slope)
    return value, slope


@numba.njit(cache=True, nogil=True)
def _polynomial(x, coefficients, row):  # type: ignore[no-untyped-def]
    value = slope = 0.0
    for k in range(coefficients.shape[1] - 1, -1, -1):
        slope = slope * x + value
        value = value * x + coefficients[row, k]
    return value, slope


@numba.njit(cache=True, nogil=True)
def range_inverse(target_m, seed_m, time_s, records_s, origin_m, coefficients, nearest):  # type: ignore[no-untyped-def]
    """The x whose `range_at` is the target, by Newton from a seed; for use inside kernels.

    Returns:
        (x in metres, derivative of the polynomial there); NaN where it does not converge.
    """
    x = seed_m
    for _ in range(_MAX_STEPS):
        value, slope = range_at(x, time_s, records_s, origin_m, coefficients, nearest)
        step = (target_m - value) / slope
        x += step
        if abs(step) < _TOLERANCE_M:
            return x, slope
    return np.nan, np.nan


@numba.njit(cache=True, nogil=True)
def _many(x_m, time_s, records_s, ahead_m, ahead, back_m, back, nearest, invert):  # type: ignore[no-untyped-def]
    out = np.empty((2, x_m.shape[0]))
    for i in range(x_m.shape[0]):
        value, slope = range_at(x_m[i], time_s[i], records_s, ahead_m, ahead, nearest)
        if invert:
            value, slope = range_inverse(x_m[i], value, time_s[i], records_s, back_m, back, nearest)
            slope = 1.0 / slope
        out[0, i], out[1, i] = value, slope
    return out


def _convert(
    table: SrgrTable,
    x_m: FloatArray | float,
    time_s: FloatArray | float,
    *,
    to_ground: bool,
    mode: SrgrMode,
    polynomial: SrgrPolynomial,
) -> tuple[FloatArray, FloatArray]:
    spread = np.broadcast_arrays(np.asarray(x_m, dtype=np.float64), np.asarray(time_s, dtype=np.float64))
    x, time = (np.ascontiguousarray(a).ravel() for a in spread)
    srgr, grsr = (table.sr0_m, table.srgr), (table.gr0_m, table.grsr)
    ahead, back = (srgr, grsr) if to_ground else (grsr, srgr)
    invert = to_ground == (polynomial == "grsr")
    out = _many(x, time, table.time_s, *ahead, *back, mode == "nearest", invert)
    return out[0].reshape(spread[0].shape), out[1].reshape(spread[0].shape)


def slant_to_ground(
    table: SrgrTable,
    slant_m: FloatArray | float,
    time_s: FloatArray | float,
    *,
    mode: SrgrMode = "linear",
    polynomial: SrgrPolynomial = "grsr",
) -> tuple[FloatArray, FloatArray]:
    """Ground range of slant ranges.

    Args:
        table: Records of the product.
        slant_m: One-way slant range in metres.
        time_s: Azimuth time, seconds since the product epoch; broadcast against `slant_m`.
        mode: "linear" between records, or "nearest" record.
        polynomial: "grsr", by which the processor resampled the image, inverted; or the fitted "srgr".

    Returns:
        Ground range in metres from the first sample, and d ground / d slant; both of the broadcast shape. NaN where
        the polynomial cannot be inverted.
    """
    return _convert(table, slant_m, time_s, to_ground=True, mode=mode, polynomial=polynomial)


def ground_to_slant(
    table: SrgrTable,
    ground_m: FloatArray | float,
    time_s: FloatArray | float,
    *,
    mode: SrgrMode = "linear",
    polynomial: SrgrPolynomial = "grsr",
) -> tuple[FloatArray, FloatArray]:
    """Slant range of ground ranges: the exact inverse of `slant_to_ground` with the same options.

    Args:
        table: Records of the product.
        ground_m: Ground range in metres from the first sample.
        time_s: Azimuth time, seconds since the product epoch; broadcast against `ground_m`.
        mode: "linear" between records, or "nearest" record.
        polynomial: "grsr", by which the processor resampled the image; or the fitted "srgr", inverted.

    Returns:
        One-way slant range in metres, and d slant / d ground; both of the broadcast shape. NaN where the polynomial
        cannot be inverted.
    """
    return _convert(table, ground_m, time_s, to_ground=False, mode=mode, polynomial=polynomial)


def slant_range_m(two_way_time_s: FloatArray | float) -> FloatArray:
    """One-way slant range of a two-way time, in metres."""
    return np.asarray(two_way_time_s, dtype=np.float64) * (0.5 * SPEED_OF_LIGHT_MS)
