"""A real orbit and image grid with terrain of one's own on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from radar_scene import Scene, scene_of

from landcover_cli.core.grid import geobox_from_bounds
from landcover_cli.io.safe_s1 import open_s1_product
from landcover_cli.sar.geocoding import RadarModel, radar_model
from landcover_cli.sar.ground import lattice_of
from landcover_cli.sar.orbit import interpolate_orbit

ROME_GRD = "s1/sarsen_rome/S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE"


@pytest.fixture(scope="session")
def rome_model(shared_data: Callable[[str], Path]) -> RadarModel:
    annotation = open_s1_product(shared_data(ROME_GRD)).annotation("VV")
    times = annotation.geolocation.azimuth_time_s
    return radar_model(annotation, interpolate_orbit(annotation.orbit, float(times.min()), float(times.max())))


@pytest.fixture(scope="session")
def make_scene(rome_model: RadarModel) -> Callable[..., Scene]:
    """`make_scene(terrain)`: heights are a function of metres east and north of the middle of a square."""

    def make(
        terrain: Callable[[np.ndarray, np.ndarray], np.ndarray],
        size_m: float = 4000.0,
        resolution_m: float = 10.0,
        origin: tuple[float, float] = (330_000.0, 4_640_000.0),
    ) -> Scene:
        left, bottom = origin
        bounds = (left, bottom, left + size_m, bottom + size_m)
        lattice, block = lattice_of(geobox_from_bounds(bounds, resolution_m, "EPSG:32633"))
        return scene_of(rome_model, lattice, block, terrain, (left + size_m / 2, bottom + size_m / 2))

    return make
