"""Maximum NDVI: the observation with the highest (nir − red) / (nir + red) of reflectance (Holben 1986, IJRS 7).

NDVI is held to −1 … 1, because reflectance below zero (noise over dark ground) gives it any value; where the sum is
not positive it counts as −1.
"""

from __future__ import annotations

import numpy as np

from landcover_cli.composites import Look
from landcover_cli.composites._best import Best


class Reducer(Best):
    """Look of the highest NDVI."""

    ROLES = ("red", "nir")

    def score(self, data_byx: np.ndarray, look: Look) -> np.ndarray:
        """NDVI."""
        frame = self.frame
        red, nir = (data_byx[frame.roles[role]].astype(np.float64) * frame.scale + frame.offset for role in self.ROLES)
        with np.errstate(invalid="ignore", over="ignore"):  # what is not clear may hold anything
            both = nir + red
            ndvi: np.ndarray = np.divide(nir - red, both, out=np.full(both.shape, -1.0), where=both > 0)
        return np.clip(ndvi, -1.0, 1.0, out=ndvi)
