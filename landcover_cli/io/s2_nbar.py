"""Nadir factors of a Sentinel-2 product: from its angles every 5 km to every pixel, bilinearly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landcover_cli.core.lattice import Lattice
from landcover_cli.core.types import Scene
from landcover_cli.errors import InputError
from landcover_cli.io.ongrid import place
from landcover_cli.io.raster import RasterInfo, open_raster, raster_info
from landcover_cli.io.s2_angles import CELL_M, read_angles
from landcover_cli.optical.masking import ANGLES
from landcover_cli.optical.nbar import COEFFICIENTS, apply_factor, nadir_factor


@dataclass(frozen=True, eq=False)
class NadirFactors:
    """Factors of a tile.

    Attributes:
        grids: Band → [rows, columns] float32, cells of 5 km from the tile's upper left corner.
        info: Where the cells lie.
    """

    grids: Mapping[str, np.ndarray]
    info: RasterInfo

    def apply(self, stored: np.ndarray, band: str, part: Lattice) -> np.ndarray:
        """Numbers of a band (ρ = number · 1e-4 − 0.1, 0 = nodata) on a lattice as seen from nadir."""
        return apply_factor(stored, place(self.grids[band], self.info, 0, 0, part, "bilinear"))


def nadir_factors(scene: Scene, bands: tuple[str, ...]) -> NadirFactors:
    """Factors of the bands of a product.

    Raises:
        InputError: The scene is no SAFE product, or a band has no published coefficients.
    """
    without = [band for band in bands if band not in COEFFICIENTS]
    if without:
        raise InputError(
            f"{scene.id}: band {without[0]} has no coefficients for nadir reflectance",
            remedy=f"leave it out; there are {', '.join(COEFFICIENTS)}",
        )
    safe = scene.metadata.get("safe")
    if not safe:
        raise InputError(
            f"{scene.id}: the angles of sun and sensor are not known, nadir reflectance needs them",
            remedy="give the SAFE product",
        )
    grids = {}
    for band in bands:
        angles = read_angles(Path(str(safe)), band)
        sun_zenith, sun_azimuth, view_zenith, view_azimuth = (angles[name] for name in ANGLES)
        factor = nadir_factor(band, sun_zenith, sun_azimuth, view_zenith, view_azimuth)
        grids[band] = factor.astype(np.float32)
    with open_raster(scene.assets[bands[0]].href) as dataset:
        info = raster_info(dataset)
    rows, columns = next(iter(grids.values())).shape
    left, top = info.bounds_m[0], info.bounds_m[3]
    bounds = (left, top - rows * CELL_M, left + columns * CELL_M, top)
    return NadirFactors(grids, RasterInfo("", columns, rows, 1, "float32", info.crs, CELL_M, bounds, None, ()))
