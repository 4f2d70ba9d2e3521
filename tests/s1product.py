"""Small simulated Sentinel-1 products over terrain, and terrain models for them; shared by several tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pyproj
import rasterio
from affine import Affine

from landcover_cli.demo.sentinel1_geometry import make_geometry
from landcover_cli.demo.sentinel1_ground import MapGrid
from landcover_cli.demo.sentinel1_safe import write_grd_safe

ASCENDING, DESCENDING = 44, 95
LEFT, TOP = 345_600.0, 5_379_840.0
EDGE = 96
GRID = MapGrid(32633, LEFT, TOP, EDGE, EDGE)
POWER = {"VV": 0.1, "VH": 0.02}
# Lower Bavaria: the EGM96 geoid lies 46.6 m above the ellipsoid.
UNDULATION_M = 46.6
ASCENDING_DAY, DESCENDING_DAY = date(2021, 1, 16), date(2021, 1, 19)


def hills(east: np.ndarray, north: np.ndarray) -> np.ndarray:
    """Slopes of up to 7° towards the east and the west, metres above the ellipsoid."""
    return 500.0 + 20.0 * np.cos(2 * np.pi * (east - LEFT) / 1000.0) + 0.0 * north


def write_product(folder: Path, orbit: int = ASCENDING, when: date = ASCENDING_DAY, *, seed: int = 1) -> Path:
    """A dual-polarised GRD of the map, of constant backscatter on hills, with speckle."""
    backscatter = np.stack([np.full((EDGE, EDGE), value) for value in POWER.values()])
    return write_grd_safe(folder, make_geometry(orbit, GRID, hills), backscatter, when=when, seed=seed)


def write_dem(
    path: Path,
    heights: Callable[[np.ndarray, np.ndarray], np.ndarray] = hills,
    *,
    shift_m: float = 0.0,
    margin_m: float = 2500.0,
    crs: str | None = "EPSG:32633",
) -> Path:
    """A terrain model around the map, 10 m pixels."""
    side = round((EDGE * 10 + 2 * margin_m) / 10)
    east = LEFT - margin_m + 10 * (np.arange(side) + 0.5)
    north = TOP + margin_m - 10 * (np.arange(side) + 0.5)
    values = heights(*np.broadcast_arrays(east[None, :], north[:, None])) + shift_m
    transform = Affine(10, 0, LEFT - margin_m, 0, -10, TOP + margin_m)
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "float32"}
    with rasterio.open(path, "w", crs=crs, transform=transform, **profile) as dataset:
        dataset.write(values.astype(np.float32), 1)
    return path


def write_aoi(path: Path, inset_m: float = 104.0, shift_m: float = 0.0, edge_m: float = 10.0 * EDGE) -> Path:
    """A square within the map."""
    to_degrees = pyproj.Transformer.from_crs(32633, 4326, always_xy=True)
    left, top = LEFT + inset_m + shift_m, TOP - inset_m
    size = edge_m - 2 * inset_m
    corners = [(left, top), (left, top - size), (left + size, top - size), (left + size, top), (left, top)]
    ring = [list(to_degrees.transform(*corner)) for corner in corners]
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}), encoding="utf-8")
    return path
