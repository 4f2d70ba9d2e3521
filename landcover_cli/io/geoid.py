"""Geoid undulation from a grid file: what turns heights above sea level into heights above the ellipsoid.

PROJ applies a geoid only if its grid is installed and says nothing where it is not; wheels of pyproj and rasterio ship
none. Grids are therefore found and read here, and a missing one is an error that names what to install.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from landcover_cli.errors import InputError

FloatArray = NDArray[np.float64]

GRID_FILES = {
    "egm96": ("us_nga_egm96_15.tif", "egm96_15.gtx", "egm96_15min.tif"),
    "egm2008": ("us_nga_egm08_25.tif", "egm08_25.gtx"),
}
"""Names of PROJ's grids (GeoTIFF since PROJ 7, GTX before), by model."""


@dataclass(frozen=True, slots=True, eq=False)
class GeoidGrid:
    """Undulation of a geoid above the WGS 84 ellipsoid on a grid of longitude and latitude.

    Attributes:
        name: "egm96", "egm2008", or the name of the file.
        values_m: [ny, nx] undulation in metres; rows from north to south, NaN where the file has none.
        west_deg: Longitude of the centre of column 0.
        north_deg: Latitude of the centre of row 0.
        step_lon_deg: Column spacing, positive.
        step_lat_deg: Row spacing, positive.
        columns_round: Columns of a full circle, 0 where the grid does not go round the Earth.
    """

    name: str
    values_m: NDArray[np.float32]
    west_deg: float
    north_deg: float
    step_lon_deg: float
    step_lat_deg: float
    columns_round: int

    def undulation(self, lon_deg: FloatArray, lat_deg: FloatArray) -> FloatArray:
        """Bilinear undulation; global grids wrap at ±180°.

        Args:
            lon_deg: Longitudes, any shape; any multiple of 360° may be added.
            lat_deg: Latitudes, same shape.

        Returns:
            Metres above the ellipsoid, float64; NaN outside a regional grid.
        """
        ny, nx = self.values_m.shape
        col = (np.asarray(lon_deg, dtype=np.float64) - self.west_deg) / self.step_lon_deg
        row = (self.north_deg - np.asarray(lat_deg, dtype=np.float64)) / self.step_lat_deg
        circle = self.columns_round or round(360.0 / self.step_lon_deg)
        col = np.mod(col, circle)
        # A hair outside the outermost node is rounding, not another place.
        col = np.where((col > circle - 1e-7), 0.0, col) if not self.columns_round else col
        inside = (row >= -1e-7) & (row <= ny - 1 + 1e-7)
        if not self.columns_round:
            inside &= col <= nx - 1 + 1e-7
        row = np.clip(np.where(inside, row, 0.0), 0.0, ny - 1)
        col = np.where(inside, col, 0.0)
        i = np.minimum(row.astype(np.int64), max(ny - 2, 0))
        j = col.astype(np.int64) if self.columns_round else np.minimum(col.astype(np.int64), max(nx - 2, 0))
        j1 = (j + 1) % circle if self.columns_round else np.minimum(j + 1, nx - 1)
        j0 = j % circle if self.columns_round else j
        i1 = np.minimum(i + 1, ny - 1)
        v, u = row - i, col - j
        z = self.values_m
        top = z[i, j0] * (1.0 - u) + z[i, j1] * u
        low = z[i1, j0] * (1.0 - u) + z[i1, j1] * u
        return np.asarray(np.where(inside, top * (1.0 - v) + low * v, np.nan), dtype=np.float64)


def find_geoid(name: str, extra_dirs: Iterable[Path] = ()) -> Path:
    """The file of a geoid model.

    Args:
        name: "egm96", "egm2008", or the path of a GeoTIFF or GTX grid.
        extra_dirs: Folders to look in before PROJ's own (where `lc fetch geoid` stores grids).

    Returns:
        Path of an existing file.

    Raises:
        InputError: No such file, or PROJ's data folders hold no grid of that name; the remedy names what to install.
    """
    if name not in GRID_FILES:
        path = Path(name)
        if not path.is_file():
            raise InputError(
                f"geoid {name!r} is neither one of {', '.join(GRID_FILES)} nor an existing file",
                remedy="give --dem-height ellipsoidal, egm96, egm2008, or the path of a geoid grid (GeoTIFF or GTX)",
            )
        return path
    folders = [*extra_dirs, *proj_folders()]
    for folder in folders:
        for file_name in GRID_FILES[name]:
            if (folder / file_name).is_file():
                return folder / file_name
    grid = GRID_FILES[name][0]
    raise InputError(
        f"the grid of the geoid {name} ({grid}) is not installed; without it heights would be wrong by up to 107 m",
        remedy=f"run `pyproj sync --file {grid.removesuffix('.tif')}`, or `lc fetch geoid --name {name}` "
        "(after --out DIR, give --geoid DIR), or install Debian's proj-data, or give a grid's path with --dem-height",
    )


def proj_folders() -> list[Path]:
    """Folders where PROJ would look for grids, existing ones only, in PROJ's order."""
    import pyproj.datadir as pyproj_data

    listed: list[str] = [str(pyproj_data.get_user_data_dir())]  # type: ignore[attr-defined]
    for variable in ("PROJ_DATA", "PROJ_LIB"):
        listed += os.environ.get(variable, "").split(os.pathsep)
    listed += pyproj_data.get_data_dir().split(os.pathsep)
    listed += [str(Path(rasterio.__file__).parent / "proj_data"), "/usr/share/proj", "/usr/local/share/proj"]
    folders = [Path(text) for text in dict.fromkeys(listed) if text]
    return [folder for folder in folders if folder.is_dir()]


def open_geoid(
    name: str, bounds_lonlat: tuple[float, float, float, float] | None = None, extra_dirs: Iterable[Path] = ()
) -> GeoidGrid:
    """Read a geoid grid, or the rows of it that an area needs.

    Args:
        name: "egm96", "egm2008", or the path of a GeoTIFF or GTX grid with rows of latitude.
        bounds_lonlat: (west, south, east, north) in degrees; only the rows between south and north are read.
        extra_dirs: See `find_geoid`.

    Returns:
        The grid.

    Raises:
        InputError: Not found, unreadable, or not a north-up grid of degrees.
    """
    path = find_geoid(name, extra_dirs)
    try:
        with rasterio.open(path) as source:
            affine = source.transform
            if affine.b or affine.d or affine.e >= 0 or (source.crs is not None and source.crs.is_projected):
                raise InputError(
                    f"geoid grid {path.name} is not a north-up grid of longitude and latitude",
                    remedy="give one of PROJ's geoid grids (GeoTIFF or GTX)",
                )
            first, last = 0, source.height
            if bounds_lonlat is not None:
                first = max(0, int((affine.f - bounds_lonlat[3]) / -affine.e) - 2)
                last = min(source.height, int((affine.f - bounds_lonlat[1]) / -affine.e) + 3)
                if first >= last:
                    first, last = 0, source.height
            window = Window(0, first, source.width, last - first)
            values = source.read(1, window=window, masked=True).astype(np.float32).filled(np.nan)
            width = source.width
    except rasterio.errors.RasterioError as error:
        raise InputError(f"geoid grid {path.name} cannot be read: {error}", remedy="fetch the grid again") from error
    circle = round(360.0 / affine.a)
    return GeoidGrid(
        name=name if name in GRID_FILES else path.name,
        values_m=values,
        west_deg=affine.c + 0.5 * affine.a,
        north_deg=affine.f + affine.e * (first + 0.5),
        step_lon_deg=affine.a,
        step_lat_deg=-affine.e,
        columns_round=circle if width >= circle else 0,
    )
