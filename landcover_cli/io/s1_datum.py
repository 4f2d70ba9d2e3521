"""Whether a terrain model agrees with the heights that a Sentinel-1 product brings on its own grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import shapely

from landcover_cli.errors import InputError
from landcover_cli.io.dem import Dem, datum_offset, warn_of_offset
from landcover_cli.io.geoid import GRID_FILES, GeoidGrid, open_geoid
from landcover_cli.sar.ground import Block, MapLattice
from landcover_cli.sar.types import GeolocationGrid

if TYPE_CHECKING:
    from pathlib import Path

    from shapely.geometry.base import BaseGeometry

_TIE_STEP_DEG = 1e-4


def check_datum(
    dem: Dem, ties: GeolocationGrid, geoid_dirs: tuple[Path, ...] = (), what: str = "the product"
) -> dict[str, Any]:
    """Compare a DEM with the terrain heights of the product's tie points.

    Args:
        dem: Terrain.
        ties: Geolocation grid; its heights are above the ellipsoid.
        geoid_dirs: Where geoid grids may lie, for the undulation of a DEM that is said to need none.
        what: Name of the product for messages.

    Returns:
        What to record: the number of tie points that the DEM holds, and the median difference where there are three.

    Raises:
        InputError: The difference is the geoid's undulation: the datum is not the one given.
    """
    if dem.flat_m is not None:
        return {}
    heights = np.array([_height_at(dem, x, y) for x, y in zip(ties.lon_deg, ties.lat_deg, strict=True)])
    seen = int(np.isfinite(heights).sum())
    geoid = dem.geoid or _any_geoid(geoid_dirs)
    if geoid is None:
        difference = (heights - ties.height_m)[np.isfinite(heights)]
        offset = float(np.median(difference)) if seen >= 3 else float("nan")
    else:
        undulation = geoid.undulation(ties.lon_deg, ties.lat_deg)
        offset = datum_offset(heights, ties.height_m, undulation, (dem.name, what))
    warn_of_offset(offset, dem, what)
    return {"tie_points": seen} | ({"tie_offset_m": round(offset, 2)} if np.isfinite(offset) else {})


def check_flat(dem: Dem, ties: GeolocationGrid, area: BaseGeometry, crs: str, what: str = "the product") -> None:
    """Warn of a flat height far from those of the tie points in an area, or of the nearest one where none is.

    Args:
        dem: Terrain; nothing is done for one that is not flat.
        ties: Geolocation grid.
        area: What is mapped, in `crs`.
        crs: CRS of the grid.
        what: Name of the product for messages.
    """
    if dem.flat_m is None or area.is_empty:
        return
    x, y = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(ties.lon_deg, ties.lat_deg)
    distance = shapely.distance(shapely.points(np.column_stack([x, y])), area)
    near = np.flatnonzero(distance <= np.nanmin(distance))
    flat = np.array([_height_at(dem, ties.lon_deg[k], ties.lat_deg[k]) for k in near])
    warn_of_offset(float(np.median(flat - ties.height_m[near])), dem, what)


def _height_at(dem: Dem, lon_deg: float, lat_deg: float) -> float:
    lattice = MapLattice("EPSG:4326", 0.0, 0.0, _TIE_STEP_DEG, -_TIE_STEP_DEG)
    block = Block(int(np.floor(-lat_deg / _TIE_STEP_DEG)), int(np.floor(lon_deg / _TIE_STEP_DEG)), 1, 1)
    return float(dem.heights(lattice, block)[0, 0])


def _any_geoid(folders: tuple[Path, ...]) -> GeoidGrid | None:
    for name in GRID_FILES:
        try:
            return open_geoid(name, None, folders)
        except InputError:
            continue
    return None
