"""Mask from the quality rasters of Sentinel-2 products since baseline 04.00, of either level.

MSK_CLASSI (60 m): layer 1 opaque clouds, 2 cirrus, 3 snow. MSK_QUALIT, a file per band at the band's pixel size, eight
layers: 1 lost and 2 degraded ancillary packets, 3 lost and 4 degraded image packets, 5 defective, 6 no data, 7
crosstalk corrected in part, 8 saturated (Sentinel-2 Products Specification Document, masks). Layers 3, 4, 5 and 8 of a
band that is asked for are bad, 6 is nothing seen; 1, 2 and 7 leave the numbers usable. None of them shows shadows.
MSK_QUALIT is read on demand (`quality`): eight layers of JPEG 2000 per band take minutes of a tile's time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import ndimage

from landcover_cli.core.types import MASK_BAD, MASK_CLEAR, MASK_NODATA
from landcover_cli.optical.masking import Mask

_BAD_LAYERS, _EMPTY_LAYER = (3, 4, 5, 8), 6
_DEFAULTS: dict[str, Any] = {"keep_snow": False, "quality": False, "cloud_m": 160.0, "cirrus_m": 80.0}


def _more_layers(bands: tuple[str, ...], options: Mapping[str, Any]) -> tuple[str, ...]:
    if not options["quality"]:
        return ()
    return tuple(f"QUALIT_{band}_{layer}" for band in bands for layer in sorted((*_BAD_LAYERS, _EMPTY_LAYER)))


def _grown(where_yx: np.ndarray, radius_m: float, gsd_m: float) -> np.ndarray:
    if radius_m < gsd_m or not where_yx.any():
        return where_yx
    distance: np.ndarray = ndimage.distance_transform_edt(~where_yx, sampling=gsd_m)
    return distance <= radius_m + 1e-6


def compute(layers: Mapping[str, np.ndarray], gsd_m: float, options: Mapping[str, Any]) -> np.ndarray:
    """Mask codes from the layers ``CLASSI_1`` … ``CLASSI_3`` and ``QUALIT_<band>_<layer>``; not 0 is flagged."""
    bad = _grown(layers["CLASSI_1"] != 0, float(options["cloud_m"]), gsd_m)
    bad = bad | _grown(layers["CLASSI_2"] != 0, float(options["cirrus_m"]), gsd_m)
    if not options["keep_snow"]:
        bad |= layers["CLASSI_3"] != 0
    empty = np.zeros(bad.shape, bool)
    for name, values in layers.items():
        if name.startswith("QUALIT_"):
            flagged = empty if name.endswith(f"_{_EMPTY_LAYER}") else bad
            flagged |= values != 0
    mask = np.where(bad, MASK_BAD, MASK_CLEAR).astype(np.uint8)
    mask[empty] = MASK_NODATA
    return mask


MASK = Mask(
    name="product_qa",
    title="quality masks of Sentinel-2 products since baseline 04.00: clouds, cirrus, snow, defects",
    layers=("CLASSI_1", "CLASSI_2", "CLASSI_3"),
    more_layers=_more_layers,
    compute=compute,
    reach_m=lambda options: max(float(options["cloud_m"]), float(options["cirrus_m"])),
    defaults=_DEFAULTS,
    # The finest of the quality masks: a defect is one pixel.
    gsd_m=10.0,
)
