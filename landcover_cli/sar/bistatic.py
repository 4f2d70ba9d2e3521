"""The residual of the bistatic correction: what the processor left of it in the azimuth times.

While an echo travels the satellite moves on: the zero-Doppler time of a place is half its two-way time τ after the
transmission of its pulse. The processor stamps a line with the transmission plus rank · PRI (the echo comes back that
many pulses later) and takes off half the two-way time τ_mid at mid-swath, one number for the whole image. What is left
is added to a line's time to get the zero-Doppler time:

    Δt = τ/2 + τ_mid/2 − rank · PRI

It lies between 0 and 0.6 ms, up to 4 m along the track, and jumps where one sub-swath follows another.

Source: C. Gisinger et al., "In-depth verification of Sentinel-1 and TerraSAR-X geolocation accuracy using the
Australian corner reflector array", IEEE TGRS 59(2), 2021, eq. 21; ETAD-DLR-DD-0008. That mid-swath is the middle of IW2
(EW3) is what they found, not what the processor's documents say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_cli.errors import InputError
from landcover_cli.sar.types import SPEED_OF_LIGHT_MS, PulseTiming, S1Annotation, SwathBounds

FloatArray = NDArray[np.floating[Any]]

MIDDLE = {"IW": "IW2", "EW": "EW3"}
"""The sub-swath in whose middle the processor takes τ_mid, by mode."""


@dataclass(frozen=True, slots=True, eq=False)
class BistaticResidual:
    """The residual of one image.

    Attributes:
        delay_s: τ_mid/2 − rank · PRI of each sub-swath, near to far.
        borders: Between each sub-swath and the next: lines from which on a border holds, increasing, and the pixel at
            which the next sub-swath takes over.
    """

    delay_s: tuple[float, ...]
    borders: tuple[tuple[FloatArray, FloatArray], ...]

    def seconds(self, line: FloatArray, pixel: FloatArray, slant_m: FloatArray) -> NDArray[np.float64]:
        """What is to be added to the time of an image position to get its zero-Doppler time.

        Args:
            line: Lines, any shape.
            pixel: Pixels, same shape.
            slant_m: Slant ranges, same shape.

        Returns:
            Seconds, same shape, float64; NaN where the range is.
        """
        swath = np.zeros(np.shape(pixel), dtype=np.int64)
        for lines, pixels in self.borders:
            at = np.clip(np.searchsorted(lines, line, side="right") - 1, 0, len(lines) - 1)
            swath += np.asarray(pixel) >= pixels[at]
        # τ/2 is the one-way time.
        return np.asarray(slant_m / SPEED_OF_LIGHT_MS + np.asarray(self.delay_s)[swath], dtype=np.float64)


def pulse_delay_s(pulses: Sequence[PulseTiming], swath: str, what: str) -> float:
    """rank · PRI of a sub-swath: from the transmission of a pulse to the stamp of its echo.

    Args:
        pulses: Of the annotation.
        swath: The sub-swath.
        what: Name of the product for messages.

    Returns:
        Seconds.

    Raises:
        InputError: The annotation does not say, or says two things.
    """
    found = {(pulse.rank, pulse.prf_hz) for pulse in pulses if pulse.swath == swath}
    if len(found) != 1:
        says = "says nothing of" if not found else "says several things of"
        raise InputError(
            f"{what}: the annotation {says} the pulses of {swath}, on which the bistatic residual depends",
            remedy="leave the residual uncorrected (no --bistatic)",
        )
    rank, prf_hz = found.pop()
    return rank / prf_hz


def check_bulk(annotation: S1Annotation) -> str:
    """The sub-swath that τ_mid is of.

    Raises:
        InputError: No mode of sub-swaths, or the processor says that it corrected nothing.
    """
    meta = annotation.meta
    if meta.mode not in MIDDLE:
        raise InputError(
            f"{meta.product_id}: the bistatic residual is known for IW and EW, not for {meta.mode}",
            remedy="leave the residual uncorrected (no --bistatic)",
        )
    if not annotation.bistatic_applied:
        raise InputError(
            f"{meta.product_id}: the processor did not apply its bistatic correction, so there is no residual of it",
            remedy="leave the residual uncorrected (no --bistatic)",
        )
    return MIDDLE[meta.mode]


def residual_of_slc(annotations: Sequence[S1Annotation], cuts: Sequence[float]) -> BistaticResidual:
    """Of an SLC.

    Args:
        annotations: One per sub-swath of the image, near to far, each with its own image.
        cuts: Pixels of the image at which the next sub-swath takes over, one fewer.

    Returns:
        The residual.

    Raises:
        InputError: The middle sub-swath is not among them, or an annotation lacks what is needed.
    """
    middle = check_bulk(annotations[0])
    what = annotations[0].meta.product_id
    image = next((a.image for a in annotations if a.swath == middle), None)
    if image is None:
        raise InputError(
            f"{what} holds no {middle}, in whose middle the processor takes its bistatic correction",
            remedy="give a product with all sub-swaths, or leave the residual uncorrected (no --bistatic)",
        )
    mid_s = image.slant_range_time_s + 0.5 * (image.shape_yx[1] - 1) / image.range_sampling_rate_hz
    delays = [0.5 * mid_s - pulse_delay_s(a.pulses, a.swath, what) for a in annotations]
    start = np.zeros(1)
    return BistaticResidual(tuple(delays), tuple((start, np.array([float(cut)])) for cut in cuts))


def residual_of_grd(annotation: S1Annotation, mid_slant_m: float) -> BistaticResidual:
    """Of a GRD; its sub-swaths are known by the rectangles they were merged from.

    Args:
        annotation: The product, or the assembled pass.
        mid_slant_m: Slant range in the middle of the middle sub-swath; see `middle_of_grd`.

    Returns:
        The residual.

    Raises:
        InputError: The annotation lacks what is needed.
    """
    check_bulk(annotation)
    what = annotation.meta.product_id
    by_swath: dict[str, list[SwathBounds]] = {}
    for bounds in annotation.swath_merge.bounds:
        by_swath.setdefault(bounds.swath, []).append(bounds)
    names = sorted(by_swath, key=lambda name: float(np.mean([b.first_pixel for b in by_swath[name]])))
    delays = [mid_slant_m / SPEED_OF_LIGHT_MS - pulse_delay_s(annotation.pulses, name, what) for name in names]
    borders = []
    for name in names[1:]:
        rows = sorted(by_swath[name], key=lambda b: b.first_line)
        lines = np.array([b.first_line for b in rows], dtype=np.float64)
        borders.append((lines, np.array([b.first_pixel for b in rows], dtype=np.float64)))
    return BistaticResidual(tuple(delays), tuple(borders))


def middle_of_grd(annotation: S1Annotation) -> tuple[float, float, float]:
    """Line, first and last pixel of the middle sub-swath of a GRD, by the rectangles it was merged from.

    What overlaps its neighbours was cut off about evenly on both sides: the mean of the slant ranges at both ends is
    that of the whole sub-swath within 2 µs (two products of one pass), 6 mm along the track.

    Raises:
        InputError: The annotation does not say where the sub-swath lies.
    """
    middle = check_bulk(annotation)
    found = [b for b in annotation.swath_merge.bounds if b.swath == middle]
    if not found:
        raise InputError(
            f"{annotation.meta.product_id}: the annotation does not say where {middle} lies, in whose middle the "
            "processor takes its bistatic correction",
            remedy="leave the residual uncorrected (no --bistatic)",
        )
    line = float(np.mean([0.5 * (b.first_line + b.last_line) for b in found]))
    first, last = (float(np.mean([getattr(b, name) for b in found])) for name in ("first_pixel", "last_pixel"))
    return line, first, last
