"""A small picture of a radar scene, for looking at: grey for one polarisation, colours for two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from landcover_cli.sar.stretch import StretchLimits, stretch_to_uint8, to_db

QUICKLOOK_PX = 1024


def write_quicklook(path: Path, views: Sequence[NDArray[np.float32]], bands: Sequence[str]) -> None:
    """Write a PNG: red the co-polar, green the cross-polar band, blue their ratio; nodata is transparent.

    Each channel is stretched between its own 2nd and 98th percentile of decibels: a picture, not a measurement.

    Args:
        path: New file.
        views: [h, w] linear power of each band, NaN for nodata; any size.
        bands: Their polarisations.
    """
    order = sorted(range(len(bands)), key=lambda k: bands[k][0] != bands[k][1])
    power = [to_db(views[k]) for k in order[:2]]
    shown = [power[0], power[1], power[0] - power[1]] if len(power) == 2 else [power[0]] * 3
    seen = np.isfinite(np.stack(shown)).all(axis=0)
    channels = [stretch_to_uint8(values, _limits(values[seen]), full_range=True) for values in shown]
    pixels = np.stack([*channels, np.where(seen, 255, 0).astype(np.uint8)])
    pixels[:, ~seen] = 0
    height, width = seen.shape
    profile = {"driver": "PNG", "height": height, "width": width, "count": 4, "dtype": "uint8", "zlevel": 6}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(pixels)


def _limits(values: NDArray[np.float32]) -> StretchLimits:
    if not values.size:
        return StretchLimits(0.0, 0.0)
    low, high = np.percentile(values.astype(np.float64), (2.0, 98.0))
    return StretchLimits(float(low), float(high))
