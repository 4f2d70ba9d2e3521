"""No mask: every pixel that holds a value is clear. For data that somebody has masked already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from landcover_cli.optical.masking import Mask


def compute(layers: Mapping[str, np.ndarray], gsd_m: float, options: Mapping[str, Any]) -> np.ndarray:
    """Never called with a layer; a mask without layers has no lattice of its own."""
    raise NotImplementedError("the mask `none` reads no layer")


MASK = Mask(
    name="none",
    title="no mask: all that holds a value is clear",
    layers=(),
    compute=compute,
    reach_m=lambda options: 0.0,
)
