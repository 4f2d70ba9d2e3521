"""Decibels, display stretch to 8 bits, and overviews averaged in linear power.

Per-scene percentiles make each scene look its best and break comparison between dates; fixed limits keep it. Either
way the limits belong into the tags of the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_cli.errors import ConfigError, InputError
from landcover_cli.sar._power_histogram import PowerHistogram

__all__ = [
    "PowerHistogram",
    "StretchLimits",
    "from_db",
    "halve_power",
    "percentile_limits",
    "stretch_to_uint8",
    "to_db",
]


@dataclass(frozen=True)
class StretchLimits:
    """Ends of a display stretch.

    Attributes:
        low_db: Shown darkest.
        high_db: Shown brightest; equal to `low_db` only for a constant image.

    Raises:
        ConfigError: Not finite, or the high end is below the low end.
    """

    low_db: float
    high_db: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low_db) and np.isfinite(self.high_db) and self.low_db <= self.high_db):
            raise ConfigError(
                f"stretch limits {self.low_db} … {self.high_db} dB are not finite and increasing",
                remedy="give a low and a high limit such as -25 and 0 dB",
            )


def to_db(power: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """10·log10 of linear power; zero, negative and not finite power is nodata (NaN).

    Args:
        power: Linear power of any shape.

    Returns:
        Decibels, float32.
    """
    linear = np.asarray(power, np.float64)
    usable = (linear > 0) & np.isfinite(linear)
    out: NDArray[np.float32] = np.where(usable, 10.0 * np.log10(np.where(usable, linear, 1.0)), np.nan).astype(
        np.float32
    )
    return out


def from_db(power_db: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Linear power of decibels, float32; NaN stays NaN."""
    out: NDArray[np.float32] = np.power(10.0, np.asarray(power_db, np.float64) / 10.0).astype(np.float32)
    return out


def percentile_limits(histogram: PowerHistogram, low_percent: float = 2.0, high_percent: float = 98.0) -> StretchLimits:
    """Limits at percentiles of the whole scene's valid decibels.

    Args:
        histogram: Of the scene's linear power, fed block by block; the split changes nothing.
        low_percent: Within 0 … 100.
        high_percent: Likewise, above `low_percent`.

    Returns:
        The limits, within 0.002 dB of the exact percentiles.

    Raises:
        ConfigError: The percentages do not increase within 0 … 100.
        InputError: The scene has no positive power.
    """
    if not 0 <= low_percent < high_percent <= 100:
        raise ConfigError(
            f"stretch percentiles {low_percent} and {high_percent} do not increase within 0 … 100",
            remedy="use 2 and 98",
        )
    low, high = histogram.percentile(low_percent), histogram.percentile(high_percent)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(
            "the scene has no pixel with positive power: no percentile exists",
            remedy="check the area of interest and the masks, or give fixed limits",
        )
    return StretchLimits(float(10.0 * np.log10(low)), float(10.0 * np.log10(high)))


def stretch_to_uint8(
    power_db: NDArray[np.floating[Any]], limits: StretchLimits, *, full_range: bool = False
) -> NDArray[np.uint8]:
    """Decibels to display values: 1 + round(254·clip((x − low)/(high − low), 0, 1)), nodata 0.

    Args:
        power_db: Decibels, NaN = nodata.
        limits: Ends of the stretch.
        full_range: Use round(255·clip(…)) instead: black and nodata are then both 0.

    Returns:
        uint8 of the same shape. With equal limits values at the limit get the middle.
    """
    db = np.asarray(power_db, np.float64)
    span = limits.high_db - limits.low_db
    above = db - limits.low_db
    share = np.clip(above / span, 0.0, 1.0) if span > 0 else 0.5 + 0.5 * np.sign(above)
    scaled = np.rint(255.0 * share) if full_range else 1.0 + np.rint(254.0 * share)
    out: NDArray[np.uint8] = np.where(np.isnan(db), 0.0, scaled).astype(np.uint8)
    return out


def halve_power(power_yx: NDArray[np.float32]) -> NDArray[np.float32]:
    """The next overview: the mean of the valid linear power of each 2 × 2 cell, NaN where a cell has none.

    Averaging decibels would bias every overview low (by up to 2.5 dB in single-look speckle). An odd last row or
    column forms cells of its own.

    Args:
        power_yx: [H, W] float32 linear power.

    Returns:
        [ceil(H / 2), ceil(W / 2)] float32.
    """
    height, width = power_yx.shape
    padded = np.full((height + height % 2, width + width % 2), np.nan)
    padded[:height, :width] = power_yx
    cells = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2)
    valid = np.isfinite(cells)
    number = valid.sum(axis=(1, 3))
    total = np.where(valid, cells, 0.0).sum(axis=(1, 3))
    out: NDArray[np.float32] = np.where(number > 0, total / np.maximum(number, 1), np.nan).astype(np.float32)
    return out
