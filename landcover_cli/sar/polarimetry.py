"""Dual polarisation: covariance C2 from complex channels, its eigenvalue parameters, and indices of detected products.

The channels are ordered co-polar, cross-polar (VV, VH or HH, HV): C11 is the co-polar power, C22 the cross-polar one,
C12 = ⟨co · conj(cross)⟩. The order matters: swapping it turns α into 90° − α and leaves entropy and anisotropy alone.

Sources: S. R. Cloude, E. Pottier, IEEE TGRS 35(1), 1997 (H/A/α; for two channels S. R. Cloude, 2007); D. Mandal et al.,
Remote Sensing of Environment 247, 2020 (DpRVI); R. Barakat, J. Opt. 8, 1977 (degree of polarisation); N. Bhogapurapu
et al., ISPRS J. 2022 (indices of GRD: DpRVIc, θc, Hc). Everything is linear power; NaN is nodata.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_cli.errors import InputError, UsageError
from landcover_cli.sar.speckle._windows import box_moments

FloatArray = NDArray[np.floating[Any]]

POLARIMETRIC_LAYERS = ("entropy", "anisotropy", "alpha", "dprvi", "dop", "c11", "c22", "c12_real", "c12_imag")


@dataclass(frozen=True, eq=False)
class Covariance:
    """Dual-polarisation covariance matrix of every pixel.

    Attributes:
        c11: [H, W] co-polar power, linear.
        c22: [H, W] cross-polar power, linear.
        c12: [H, W] complex, ⟨co · conj(cross)⟩.

    Raises:
        InputError: The three shapes differ.
    """

    c11: FloatArray
    c22: FloatArray
    c12: NDArray[np.complexfloating[Any, Any]]

    def __post_init__(self) -> None:
        if not self.c11.shape == self.c22.shape == self.c12.shape:
            raise InputError(
                f"covariance parts of shapes {self.c11.shape}, {self.c22.shape}, {self.c12.shape}",
                remedy="give all parts on one grid",
            )


@dataclass(frozen=True, eq=False)
class EigenParameters:
    """Cloude–Pottier parameters of two channels.

    Attributes:
        entropy: [H, W] H within 0 … 1.
        anisotropy: [H, W] A within 0 … 1.
        alpha_deg: [H, W] mean α within 0 … 90 degrees.
    """

    entropy: FloatArray
    anisotropy: FloatArray
    alpha_deg: FloatArray


@dataclass(frozen=True, eq=False)
class DetectedIndices:
    """Indices from two detected channels.

    Attributes:
        rvi: [H, W] radar vegetation index 4·VH/(VV + VH), 0 … 4.
        dprvi_c: [H, W] DpRVIc = q(q + 3)/(q + 1)², 0 … 1.
        theta_c_deg: [H, W] θc = atan((1 − q)²/(1 − q + q²)), 0 … 45 degrees.
        entropy_c: [H, W] Hc of the pseudo-probabilities 1/(1 + q) and q/(1 + q), 0 … 1.
    """

    rvi: FloatArray
    dprvi_c: FloatArray
    theta_c_deg: FloatArray
    entropy_c: FloatArray


def covariance(co: NDArray[np.complexfloating[Any, Any]], cross: NDArray[np.complexfloating[Any, Any]]) -> Covariance:
    """Single-look covariance of two calibrated complex channels [H, W]; average it before any eigenvalue."""
    co, cross = co.astype(np.complex128), cross.astype(np.complex128)
    return Covariance(co.real**2 + co.imag**2, cross.real**2 + cross.imag**2, co * np.conj(cross))


def subtract_noise(c2: Covariance, noise11: FloatArray, noise22: FloatArray) -> Covariance:
    """Remove the channels' noise power from the diagonal; noise is independent between channels, so C12 has none.

    Args:
        c2: Covariance in the calibration of the noise.
        noise11: [H, W] or scalar noise power of the co-polar channel.
        noise22: Likewise of the cross-polar channel.

    Returns:
        Covariance whose powers may be negative where noise dominates; average before use.
    """
    return Covariance(c2.c11 - noise11, c2.c22 - noise22, c2.c12)


def boxcar(c2: Covariance, window_px: int) -> Covariance:
    """Mean over the valid pixels of a window centred on each pixel; a pixel invalid in any part is invalid in all.

    Args:
        c2: Covariance.
        window_px: Odd edge length ≥ 3. At the edge of the array the window is cut.

    Returns:
        Covariance of the same shape, float64.
    """
    half = window_px // 2

    def smooth(part: FloatArray) -> NDArray[np.float64]:
        masked = np.pad(np.where(valid, part, np.nan).astype(np.float64), half, constant_values=np.nan)
        return np.where(valid, box_moments(masked, window_px)[0], np.nan)

    valid = np.isfinite(c2.c11) & np.isfinite(c2.c22) & np.isfinite(c2.c12)
    return _by_part(c2, smooth)


def multilook(c2: Covariance, lines: int, samples: int) -> Covariance:
    """Mean over disjoint cells of `lines` × `samples` valid pixels (IW SLC: 1 × 4); a remainder is dropped.

    Returns:
        Covariance [H // lines, W // samples], float64; NaN where a cell has no valid pixel.
    """
    valid = np.isfinite(c2.c11) & np.isfinite(c2.c22) & np.isfinite(c2.c12)
    height, width = valid.shape[0] // lines, valid.shape[1] // samples

    def cells(part: NDArray[Any]) -> NDArray[Any]:
        cut = part[: height * lines, : width * samples]
        return cut.reshape(height, lines, width, samples).sum(axis=(1, 3))

    number = cells(valid.astype(np.float64))
    number[number == 0] = np.nan
    return _by_part(c2, lambda part: cells(np.where(valid, part, 0.0).astype(np.float64)) / number)


def _by_part(c2: Covariance, change: Callable[[FloatArray], NDArray[np.float64]]) -> Covariance:
    """Apply one real function to the four real parts."""
    return Covariance(change(c2.c11), change(c2.c22), change(c2.c12.real) + 1j * change(c2.c12.imag))


def eigenvalues(c2: Covariance) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Larger and smaller eigenvalue, λ = ½(C11 + C22) ± ½√((C11 − C22)² + 4|C12|²), both [H, W] float64."""
    trace, spread = _trace_and_spread(c2)
    return 0.5 * (trace + spread), 0.5 * (trace - spread)


def _trace_and_spread(c2: Covariance) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """C11 + C22 and λ1 − λ2; NaN where the trace is not positive (noise removal can leave nothing)."""
    c11, c22 = c2.c11.astype(np.float64), c2.c22.astype(np.float64)
    trace = c11 + c22
    trace = np.where(trace > 0, trace, np.nan)
    return trace, np.hypot(c11 - c22, 2.0 * np.abs(c2.c12.astype(np.complex128)))


def h_a_alpha(c2: Covariance) -> EigenParameters:
    """Entropy, anisotropy and mean alpha in closed form.

    The first eigenvector of a 2×2 Hermitian matrix has tan 2α1 = 2|C12|/(C11 − C22), which is
    cos²α1 = (λ1 − C22)/(λ1 − λ2) without its cancellation; α2 = 90° − α1. A negative λ2 (possible after noise removal)
    counts as zero.
    """
    trace, spread = _trace_and_spread(c2)
    p1 = np.minimum(0.5 * (1.0 + spread / trace), 1.0)
    p2 = 1.0 - p1
    difference = c2.c11.astype(np.float64) - c2.c22
    alpha1 = 0.5 * np.degrees(np.arctan2(2.0 * np.abs(c2.c12.astype(np.complex128)), difference))
    return EigenParameters(_entropy(p1, p2), p1 - p2, p1 * alpha1 + p2 * (90.0 - alpha1))


def _entropy(p1: NDArray[np.float64], p2: NDArray[np.float64]) -> NDArray[np.float64]:
    """−Σ p log2 p with 0·log 0 = 0; NaN stays NaN."""
    return -(_p_log_p(p1) + _p_log_p(p2))


def _p_log_p(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return p * np.log2(np.where(p == 0.0, 1.0, p))


def degree_of_polarisation(c2: Covariance) -> NDArray[np.float64]:
    """m = √(1 − 4·det/tr²) within 0 … 1, [H, W]; computed as (λ1 − λ2)/tr, which is the same without cancellation."""
    trace, spread = _trace_and_spread(c2)
    return np.minimum(spread / trace, 1.0)


def dprvi(c2: Covariance) -> NDArray[np.float64]:
    """Dual-pol radar vegetation index 1 − m·λ1/tr within 0 … 1, [H, W]."""
    m = degree_of_polarisation(c2)
    return 1.0 - m * 0.5 * (1.0 + m)


def check_layers(names: Sequence[str]) -> None:
    """Refuse names that `polarimetric_layers` does not know.

    Raises:
        UsageError: The first unknown one, and what there is.
    """
    unknown = [name for name in names if name not in POLARIMETRIC_LAYERS]
    if unknown:
        raise UsageError(
            f"polarimetric product {unknown[0]!r} is unknown", remedy=f"choose among {', '.join(POLARIMETRIC_LAYERS)}"
        )


def polarimetric_layers(c2: Covariance, names: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Products of an averaged covariance matrix, by name.

    Args:
        c2: Averaged covariance, [H, W].
        names: Any of `POLARIMETRIC_LAYERS`; alpha in degrees, c11 … c12_imag as in `c2`, all others 0 … 1.

    Returns:
        {name: [H, W] float32}, in the order asked for; NaN for nodata.

    Raises:
        UsageError: A name is unknown.
    """
    check_layers(names)
    made: dict[str, FloatArray] = {"c11": c2.c11, "c22": c2.c22, "c12_real": c2.c12.real, "c12_imag": c2.c12.imag}
    if {"entropy", "anisotropy", "alpha"} & set(names):
        eigen = h_a_alpha(c2)
        made |= {"entropy": eigen.entropy, "anisotropy": eigen.anisotropy, "alpha": eigen.alpha_deg}
    if "dprvi" in names:
        made["dprvi"] = dprvi(c2)
    if "dop" in names:
        made["dop"] = degree_of_polarisation(c2)
    return {name: made[name].astype(np.float32) for name in names}


def detected_indices(co: FloatArray, cross: FloatArray) -> DetectedIndices:
    """Indices of two detected channels, for example speckle-filtered GRD.

    Args:
        co: [H, W] co-polar power (VV), linear.
        cross: [H, W] cross-polar power (VH), linear.

    Returns:
        The indices, float64; NaN where a channel is nodata, the co-polar power is not positive, or the cross-polar
        power is negative. q = min(VH/VV, 1).

    Raises:
        InputError: The shapes differ.
    """
    if co.shape != cross.shape:
        raise InputError(f"channels of shapes {co.shape} and {cross.shape}", remedy="give both on one grid")
    usable = (co > 0) & (cross >= 0) & np.isfinite(co) & np.isfinite(cross)
    vv = np.where(usable, co, np.nan).astype(np.float64)
    vh = np.where(usable, cross, np.nan).astype(np.float64)
    q = np.minimum(vh / vv, 1.0)
    p1, p2 = 1.0 / (1.0 + q), q / (1.0 + q)
    return DetectedIndices(
        rvi=4.0 * vh / (vv + vh),
        dprvi_c=q * (q + 3.0) / (q + 1.0) ** 2,
        theta_c_deg=np.degrees(np.arctan((1.0 - q) ** 2 / (1.0 - q + q * q))),
        entropy_c=_entropy(p1, p2),
    )
