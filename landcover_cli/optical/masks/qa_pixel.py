"""Mask from the quality bands of Landsat Collection 2.

QA_PIXEL bits: 0 fill, 1 dilated cloud, 2 cirrus, 3 cloud, 4 cloud shadow, 5 snow, 6 clear, 7 water, and confidences
above. QA_RADSAT: one bit per saturated band, 11 terrain occlusion (Landsat 8-9 Collection 2 Level 2 Science Product
Guide). Bits 0 to 5 and any of QA_RADSAT are bad unless an option frees them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from landcover_cli.core.types import MASK_BAD, MASK_CLEAR, MASK_NODATA
from landcover_cli.optical.masking import Mask

_FILL, _DILATED, _CIRRUS, _CLOUD, _SHADOW, _SNOW = (1 << bit for bit in range(6))
_DEFAULTS: dict[str, Any] = {"keep_dilated": False, "keep_cirrus": False, "keep_snow": False, "saturation": True}


def compute(layers: Mapping[str, np.ndarray], gsd_m: float, options: Mapping[str, Any]) -> np.ndarray:
    """Mask codes from ``QA_PIXEL`` and, where it is there, ``QA_RADSAT``; `saturation` says whether it is asked for."""
    quality = layers["QA_PIXEL"].astype(np.uint16)
    bits = _CLOUD | _SHADOW
    for option, bit in (("keep_dilated", _DILATED), ("keep_cirrus", _CIRRUS), ("keep_snow", _SNOW)):
        bits |= 0 if options[option] else bit
    bad = (quality & bits) != 0
    if options["saturation"] and "QA_RADSAT" in layers:
        bad |= layers["QA_RADSAT"] != 0
    mask = np.where(bad, MASK_BAD, MASK_CLEAR).astype(np.uint8)
    # No pixel of a scene has no bit at all: 0 is what lies beyond it.
    mask[((quality & _FILL) != 0) | (quality == 0)] = MASK_NODATA
    return mask


MASK = Mask(
    name="qa_pixel",
    title="quality bands of Landsat Collection 2",
    layers=("QA_PIXEL",),
    more_layers=lambda bands, options: ("QA_RADSAT",) if options["saturation"] else (),
    compute=compute,
    reach_m=lambda options: 0.0,
    defaults=_DEFAULTS,
)
