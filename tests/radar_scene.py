"""A real orbit and image grid with terrain of one's own on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from landcover_cli.sar.geocoding import RadarCoordinates, RadarModel, geocode, seed_times
from landcover_cli.sar.ground import Block, GroundNodes, MapLattice, ground_nodes, ground_positions


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
