"""A real orbit and image grid with terrain of one's own on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from landcover_cli.core.grid import geobox_from_bounds
from landcover_cli.io.safe_s1 import open_s1_product
from landcover_cli.sar.geocoding import RadarCoordinates, RadarModel, geocode, radar_model, seed_times
from landcover_cli.sar.ground import Block, GroundNodes, MapLattice, ground_nodes, ground_positions, lattice_of
from landcover_cli.sar.orbit import interpolate_orbit

ROME_GRD = "s1/sarsen_rome/S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE"


@dataclass(frozen=True)
class Scene:
    """Terrain on a map block, seen by a radar."""

    model: RadarModel
    lattice: MapLattice
    block: Block
    height: np.ndarray
    nodes: GroundNodes
    seeds: np.ndarray
    coordinates: RadarCoordinates
    position: np.ndarray


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


def scene_of(
    model: RadarModel,
    lattice: MapLattice,
    block: Block,
    terrain: Callable[[np.ndarray, np.ndarray], np.ndarray],
    middle: tuple[float, float],
) -> Scene:
    """Heights, geocoding and positions of one block."""
    x = lattice.x0 + lattice.dx * (block.col0 + np.arange(block.width) + 0.5) - middle[0]
    y = lattice.y0 + lattice.dy * (block.row0 + np.arange(block.height) + 0.5) - middle[1]
    height = np.ascontiguousarray(np.broadcast_to(terrain(x[None, :], y[:, None]), block.shape_yx), dtype=np.float64)
    nodes = ground_nodes(lattice, block)
    seeds = seed_times(model, nodes)
    coordinates = geocode(model, nodes, seeds, block, height)
    return Scene(model, lattice, block, height, nodes, seeds, coordinates, ground_positions(nodes, block, height))
