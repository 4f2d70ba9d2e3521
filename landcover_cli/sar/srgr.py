"""Between slant range and ground range of a GRD, in both directions.

ground = Σ srgr_k (slant − sr0)^k per coordinate-conversion record; between two records the ground range is linear in
azimuth time ("linear", the mode for processing), or the nearest record is taken ("nearest", as the processor does in
its own geolocation grid). Before the first and after the last record that record holds.

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
# Newton needs one step from a GRSR seed and two or three from afar; the bound only guards against damaged records.
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
    i = np.searchsorted(records_s, time_s, side="right") - 1
    weight = (time_s - records_s[i]) / (records_s[i + 1] - records_s[i])
    if nearest:
        i = i + 1 if weight > 0.5 else i
        return i, i, 0.0
    return i, i + 1, weight


@numba.njit(cache=True, nogil=True)
def ground_range(slant_m, time_s, records_s, sr0_m, srgr, nearest):  # type: ignore[no-untyped-def]
    """Ground range and its derivative at one point; for use inside kernels, arguments as in `SrgrTable`.

    Returns:
        (ground range in metres, d ground / d slant).
    """
    low, high, weight = record_pair(time_s, records_s, nearest)
    ground, slope = _polynomial(slant_m - sr0_m[low], srgr, low)
    if weight > 0.0:
        ground_b, slope_b = _polynomial(slant_m - sr0_m[high], srgr, high)
        ground += weight * (ground_b - ground)
        slope += weight * (slope_b - slope)
    return ground, slope


@numba.njit(cache=True, nogil=True)
def _polynomial(x, coefficients, row):  # type: ignore[no-untyped-def]
    value = slope = 0.0
    for k in range(coefficients.shape[1] - 1, -1, -1):
        slope = slope * x + value
        value = value * x + coefficients[row, k]
    return value, slope


@numba.njit(cache=True, nogil=True)
def slant_range(ground_m, time_s, records_s, sr0_m, srgr, gr0_m, grsr, nearest):  # type: ignore[no-untyped-def]
    """Slant range whose ground range is given: the exact inverse of `ground_range`, by Newton from the GRSR polynomial.

    Returns:
        (slant range in metres, d ground / d slant there); NaN where it does not converge.
    """
    low, _, _ = record_pair(time_s, records_s, nearest)
    slant, _ = _polynomial(ground_m - gr0_m[low], grsr, low)
    slope = np.nan
    for _ in range(_MAX_STEPS):
        ground, slope = ground_range(slant, time_s, records_s, sr0_m, srgr, nearest)
        step = (ground_m - ground) / slope
        slant += step
        if abs(step) < _TOLERANCE_M:
            return slant, slope
    return np.nan, np.nan


@numba.njit(cache=True, nogil=True)
def _grounds(slant_m, time_s, records_s, sr0_m, srgr, nearest):  # type: ignore[no-untyped-def]
    out = np.empty((2, slant_m.shape[0]))
    for i in range(slant_m.shape[0]):
        out[0, i], out[1, i] = ground_range(slant_m[i], time_s[i], records_s, sr0_m, srgr, nearest)
    return out


@numba.njit(cache=True, nogil=True)
def _slants(ground_m, time_s, records_s, sr0_m, srgr, gr0_m, grsr, nearest):  # type: ignore[no-untyped-def]
    out = np.empty((2, ground_m.shape[0]))
    for i in range(ground_m.shape[0]):
        out[0, i], out[1, i] = slant_range(
            ground_m[i], time_s[i], records_s, sr0_m, srgr, gr0_m, grsr, nearest
        )  # fmt: skip
    return out


def _flat(*arrays: FloatArray | float) -> tuple[list[FloatArray], tuple[int, ...]]:
    spread = np.broadcast_arrays(*[np.asarray(a, dtype=np.float64) for a in arrays])
    return [np.ascontiguousarray(a).ravel() for a in spread], spread[0].shape


def slant_to_ground(
    table: SrgrTable, slant_m: FloatArray | float, time_s: FloatArray | float, *, mode: SrgrMode = "linear"
) -> tuple[FloatArray, FloatArray]:
    """Ground range of slant ranges.

    Args:
        table: Records of the product.
        slant_m: One-way slant range in metres.
        time_s: Azimuth time, seconds since the product epoch; broadcast against `slant_m`.
        mode: "linear" between records, or "nearest" record.

    Returns:
        Ground range in metres from the first sample, and d ground / d slant; both of the broadcast shape.
    """
    (slant, time), shape = _flat(slant_m, time_s)
    out = _grounds(slant, time, table.time_s, table.sr0_m, table.srgr, mode == "nearest")
    return out[0].reshape(shape), out[1].reshape(shape)


def ground_to_slant(
    table: SrgrTable, ground_m: FloatArray | float, time_s: FloatArray | float, *, mode: SrgrMode = "linear"
) -> tuple[FloatArray, FloatArray]:
    """Slant range of ground ranges: the exact inverse of `slant_to_ground`.

    Args:
        table: Records of the product.
        ground_m: Ground range in metres from the first sample.
        time_s: Azimuth time, seconds since the product epoch; broadcast against `ground_m`.
        mode: "linear" between records, or "nearest" record.

    Returns:
        One-way slant range in metres, and d ground / d slant there; NaN where the polynomial cannot be inverted.
    """
    (ground, time), shape = _flat(ground_m, time_s)
    out = _slants(
        ground, time, table.time_s, table.sr0_m, table.srgr, table.gr0_m, table.grsr, mode == "nearest"
    )  # fmt: skip
    return out[0].reshape(shape), out[1].reshape(shape)


def slant_range_m(two_way_time_s: FloatArray | float) -> FloatArray:
    """One-way slant range of a two-way time, in metres."""
    return np.asarray(two_way_time_s, dtype=np.float64) * (0.5 * SPEED_OF_LIGHT_MS)
