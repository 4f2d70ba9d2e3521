"""Terrain heights above the ellipsoid for any map grid, from a file, a VRT, a folder of tiles, or one number.

A DEM says what its heights are counted from, or the user says it; nothing is assumed. Radar geometry needs heights
above the ellipsoid: 48 m too low, the geoid's undulation in Rome, moves a pixel by 50–77 m on the map.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from landcover_cli.errors import InputError
from landcover_cli.io.demtiles import TERRAIN_M, Bounds, DemTile, TileSheet, paste
from landcover_cli.io.geoid import GRID_FILES, GeoidGrid, open_geoid
from landcover_cli.sar.ground import Block, MapLattice, ground_nodes, interpolate_nodes, read_only
from landcover_cli.sar.resample import fill_heights

FloatArray = NDArray[np.float64]

_log = logging.getLogger("lc")

SUFFIXES = (".tif", ".tiff", ".hgt", ".vrt", ".img", ".dt0", ".dt1", ".dt2", ".bil")
# Copernicus DEM folders hold masks and accuracies beside the heights (product handbook, file naming).
AUXILIARY = ("_EDM", "_FLM", "_HEM", "_WBM", "_ACM")
VERTICAL = {"EGM96": "egm96", "EGM2008": "egm2008", "EGM08": "egm2008"}
MAX_WINDOW_PX = 150_000_000
# The products' grid follows a coarser, older DEM: that differs by a few metres in the median, by some 10 m at most
# where one has the tops of trees and the other the ground. 15 m move a place by 15 to 45 m on the map.
MAX_OFFSET_M = 15.0
# One number never fits a landscape; beyond 100 m it is a wrong number, and places are off by 100 to 300 m.
MAX_FLAT_OFFSET_M = 100.0


@dataclass(frozen=True, slots=True, eq=False)
class Dem:
    """A terrain model that answers with heights above the WGS 84 ellipsoid.

    Attributes:
        name: File or folder name, or "flat:H"; for provenance.
        height_kind: "ellipsoidal", "egm96", "egm2008", or the name of a geoid file.
        sheets: The tiles; empty for a flat one.
        geoid: Undulation to add; None for ellipsoidal heights.
        flat_m: Height of a flat model in its own datum.
        voids_are_sea: Pixels marked as nodata inside a tile are the sea, 0 m above the geoid.
    """

    name: str
    height_kind: str
    sheets: tuple[TileSheet, ...]
    geoid: GeoidGrid | None = None
    flat_m: float | None = None
    voids_are_sea: bool = True
    files: tuple[str, ...] = field(default=())

    def heights(self, lattice: MapLattice, block: Block) -> FloatArray:
        """Bilinear heights at the pixel centres of a block.

        A height depends on its pixel alone: the same bits come out of any block that holds it.

        Args:
            lattice: The map grid.
            block: The pixels.

        Returns:
            [height, width] float64 metres above the ellipsoid; NaN where no tile is, or where a void is no sea.

        Raises:
            InputError: A tile cannot be read, or the block needs an absurd amount of DEM.
        """
        nodes = ground_nodes(lattice, block)
        if self.flat_m is not None:
            out = np.full(block.shape_yx, self.flat_m)
        else:
            out = np.full(block.shape_yx, np.nan)
            for sheet in self.sheets:
                xy = _sheet_coordinates(sheet, nodes.lon_deg, nodes.lat_deg)
                for shift, window in _windows_of(sheet, xy):
                    self._sample(sheet, window, xy + np.array([shift, 0.0]), nodes.frame, block, out)
        if self.geoid is not None:
            undulation = self.geoid.undulation(nodes.lon_deg, nodes.lat_deg)
            out += interpolate_nodes(undulation, nodes.frame, block)
        return out

    def _sample(
        self,
        sheet: TileSheet,
        window: tuple[int, int, int, int],
        xy: FloatArray,
        frame: tuple[int, int, int],
        block: Block,
        out: FloatArray,
    ) -> None:
        values = paste(sheet, window, self._void_value())
        origin = sheet.tiles[0]
        rows = (origin.top - xy[..., 1]) / origin.dy - 0.5
        index = np.stack([rows, (xy[..., 0] - origin.left) / origin.dx - 0.5], axis=-1)
        fill_heights(values, (window[0], window[2]), read_only(index), frame, (block.row0, block.col0), out)

    def _void_value(self) -> float:
        # Above the ellipsoid the sea has no fixed height; only a geoid could tell it.
        return 0.0 if self.voids_are_sea and self.height_kind != "ellipsoidal" else math.nan

    def missing_share(self, lon_deg: FloatArray, lat_deg: FloatArray) -> float:
        """Share of places that no tile covers, 0..1.

        Args:
            lon_deg: Longitudes of places spread evenly over the area asked for.
            lat_deg: Latitudes, same shape.
        """
        if self.flat_m is not None:
            return 0.0
        covered = np.zeros(np.shape(lon_deg), dtype=bool)
        for sheet in self.sheets:
            xy = _sheet_coordinates(sheet, lon_deg, lat_deg)
            for shift in (0.0, 360.0, -360.0) if sheet.geographic else (0.0,):
                x, y = xy[..., 0] + shift, xy[..., 1]
                for tile in sheet.tiles:
                    for left, bottom, right, top in tile.covered:
                        covered |= (x >= left) & (x <= right) & (y >= bottom) & (y <= top)
        return float(1.0 - covered.mean()) if covered.size else 1.0

    def require_cover(self, lon_deg: FloatArray, lat_deg: FloatArray, what: str, tolerance: float = 0.0) -> None:
        """Refuse a DEM that does not cover an area.

        Args:
            lon_deg: Longitudes of places spread evenly over the area.
            lat_deg: Latitudes, same shape.
            what: Name of the area for the message, e.g. the product id.
            tolerance: Share that may be missing.

        Raises:
            InputError: More is missing; the message says how much and where.
        """
        share = self.missing_share(lon_deg, lat_deg)
        if share > tolerance:
            west, east = float(np.min(lon_deg)), float(np.max(lon_deg))
            south, north = float(np.min(lat_deg)), float(np.max(lat_deg))
            raise InputError(
                f"DEM {self.name} does not cover {what}: {100 * share:.1f} % of longitude {west:.3f}..{east:.3f}, "
                f"latitude {south:.3f}..{north:.3f} is missing",
                remedy="add the missing tiles (`lc fetch dem`), choose a smaller --aoi, or use --dem flat:H",
            )

    def height_range(self, bounds_lonlat: Bounds) -> tuple[float, float]:
        """Lowest and highest height above the ellipsoid in an area, at least as wide as the true range.

        Args:
            bounds_lonlat: (west, south, east, north) in degrees.

        Returns:
            Metres above the ellipsoid; (0, 0) plus the undulation where the DEM has nothing.
        """
        west, south, east, north = bounds_lonlat
        lon, lat = np.meshgrid(np.linspace(west, east, 33), np.linspace(south, north, 33))
        low, high = (self.flat_m, self.flat_m) if self.flat_m is not None else (math.inf, -math.inf)
        for sheet in self.sheets:
            xy = _sheet_coordinates(sheet, lon, lat)
            for _, window in _windows_of(sheet, xy, limit=False):
                for part in _strips(window):
                    values = paste(sheet, part, self._void_value())
                    if np.isfinite(values).any():
                        low, high = min(low, float(np.nanmin(values))), max(high, float(np.nanmax(values)))
        if low > high:
            low = high = 0.0
        if self.geoid is not None:
            undulation = self.geoid.undulation(lon, lat)
            # The undulation changes by less than a metre between the 33 × 33 places of a scene.
            low, high = low + float(np.nanmin(undulation)) - 1.0, high + float(np.nanmax(undulation)) + 1.0
        return low, high


def open_dem(
    source: str | Path, height: str = "auto", *, geoid_dirs: Iterable[Path] = (), voids_are_sea: bool = True
) -> Dem:
    """Open a DEM; no height is read yet.

    Args:
        source: A raster file, a VRT, a folder of tiles (searched recursively), or "flat:H" with H in metres.
        height: What heights are counted from: "ellipsoidal", "egm96" (SRTM), "egm2008" (Copernicus DEM), the path of a
            geoid grid, or "auto": what the file's own vertical CRS says.
        geoid_dirs: Folders with geoid grids, before PROJ's own.
        voids_are_sea: Take nodata inside a tile as the sea (0 m above the geoid) rather than as unknown.

    Returns:
        The DEM.

    Raises:
        InputError: Nothing to open, no CRS, a rotated raster, an unknown or contradicted datum, a missing geoid grid.
    """
    if str(source).startswith("flat:"):
        return _flat(str(source), height, geoid_dirs)
    path = Path(source)
    paths = _raster_files(path)
    sheets, vertical = _sheets(paths)
    kind = _height_kind(path.name, height, vertical)
    geoid = None if kind == "ellipsoidal" else open_geoid(kind, _lonlat_bounds(sheets), geoid_dirs)
    label = "ellipsoidal" if geoid is None else geoid.name
    return Dem(path.name, label, sheets, geoid, None, voids_are_sea, tuple(Path(p).name for p in paths))


def datum_offset(
    dem_height_m: FloatArray,
    known_height_m: FloatArray,
    undulation_m: FloatArray,
    names: tuple[str, str] = ("given", "the product"),
) -> float:
    """Median difference of a DEM from terrain heights known above the ellipsoid; a wrong datum is refused.

    Args:
        dem_height_m: [N] heights of the DEM above the ellipsoid; NaN where it has none.
        known_height_m: [N] heights of the geolocation grid at the same places.
        undulation_m: [N] geoid undulation there.
        names: Of the DEM and of the product, for the message.

    Returns:
        Median of DEM − known in metres; NaN if fewer than three places compare.

    Raises:
        InputError: The differences sit at plus or minus the undulation, not at zero.
    """
    difference = (dem_height_m - known_height_m)[np.isfinite(dem_height_m)]
    if difference.size < 3:
        return math.nan
    offset = float(np.median(difference))
    spread = float(np.median(np.abs(difference - offset)))
    undulation = float(np.median(undulation_m))
    wrong = min((undulation, -undulation), key=lambda value: abs(offset - value))
    if abs(undulation) > 10.0 and abs(offset - wrong) < 0.25 * abs(undulation) and spread < 0.25 * abs(undulation):
        raise InputError(
            f"DEM {names[0]} lies {offset:+.1f} m from the heights of the own grid of {names[1]}, and the geoid's "
            f"undulation is {undulation:+.1f} m: its vertical datum is not the one given",
            remedy="give the datum of the DEM with --dem-height: ellipsoidal, egm96 (SRTM) or egm2008 (Copernicus)",
        )
    return offset


def warn_of_offset(offset_m: float, dem: Dem, product: str) -> None:
    """Warn of a DEM that lies far from the heights of the product's own grid.

    Args:
        offset_m: Median of DEM − known; NaN for unknown, of which nothing is said.
        dem: The DEM.
        product: Name of the product.
    """
    flat = dem.flat_m is not None
    if abs(offset_m) > (MAX_FLAT_OFFSET_M if flat else MAX_OFFSET_M):
        remedy = (
            f"give about flat:{dem.flat_m - offset_m:.0f}, or a DEM"
            if dem.flat_m is not None
            else ("check --dem-height, the unit of the heights, and that the DEM is of this place")
        )
        _log.warning(
            "DEM %s lies %+.1f m from the heights of the own grid of %s: pixels will be misplaced by one to three "
            "times as much; %s",
            dem.name,
            offset_m,
            product,
            remedy,
        )


def _flat(text: str, height: str, geoid_dirs: Iterable[Path]) -> Dem:
    try:
        value = float(text.removeprefix("flat:"))
    except ValueError:
        value = math.nan
    if not TERRAIN_M[0] <= value <= TERRAIN_M[1]:
        raise InputError(
            f"--dem {text!r} holds no height between -1000 and 9000 m", remedy="write for example --dem flat:120"
        )
    kind = "ellipsoidal" if height == "auto" else height
    geoid = None if kind == "ellipsoidal" else open_geoid(kind, None, geoid_dirs)
    return Dem(text, "ellipsoidal" if geoid is None else geoid.name, (), geoid, value)


def _raster_files(path: Path) -> list[str]:
    if path.is_file():
        return [str(path)]
    if not path.is_dir():
        raise InputError(f"DEM {path.name!r} does not exist", remedy="give a raster file, a VRT or a folder of tiles")
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    found = [p for p in found if not p.stem.endswith(AUXILIARY)]
    tiles = [p for p in found if p.suffix.lower() != ".vrt"]
    if not found:
        raise InputError(
            f"DEM folder {path.name!r} holds no raster ({', '.join(SUFFIXES)})",
            remedy="fetch tiles with `lc fetch dem`",
        )
    return [str(p) for p in tiles or found]


def _sheets(paths: Sequence[str]) -> tuple[tuple[TileSheet, ...], set[str]]:
    groups: dict[tuple[Any, ...], list[DemTile]] = {}
    vertical: set[str] = set()
    for path in paths:
        tile, crs, datum = _describe(path)
        phase = (round(tile.left / tile.dx % 1.0, 3) % 1.0, round(tile.top / tile.dy % 1.0, 3) % 1.0)
        key = (crs.to_wkt(), round(tile.dx, 12), round(tile.dy, 12), *phase)
        groups.setdefault(key, []).append(tile)
        vertical.add(datum)
    sheets = [
        TileSheet(key[0], pyproj.CRS.from_wkt(key[0]).is_geographic, tuple(tiles)) for key, tiles in groups.items()
    ]
    return tuple(sheets), vertical


def _describe(path: str) -> tuple[DemTile, pyproj.CRS, str]:
    name = Path(path).name
    try:
        with rasterio.open(path) as source:
            affine, shape = source.transform, (source.height, source.width)
            wkt = source.crs.to_wkt() if source.crs is not None else None
            bounds = tuple(source.bounds)
            parts = source.files[1:] if source.driver == "VRT" else []
    except RasterioError as error:
        raise InputError(f"DEM {name} cannot be opened: {error}", remedy="check the file, or fetch it again") from error
    if wkt is None:
        raise InputError(
            f"DEM {name} has no coordinate reference system",
            remedy="write it into the file, for example with `gdal_edit.py -a_srs EPSG:4326`",
        )
    if affine.b or affine.d or affine.a <= 0 or affine.e >= 0:
        raise InputError(f"DEM {name} is rotated or not north-up", remedy="warp it to a north-up grid first")
    crs = pyproj.CRS.from_wkt(wkt)
    datum = ""
    if crs.is_compound:
        text = crs.sub_crs_list[1].name.upper().replace(" ", "")
        datum = next((kind for name_part, kind in VERTICAL.items() if name_part in text), "unknown")
        crs = crs.sub_crs_list[0]
    elif len(crs.axis_info) == 3:
        datum, crs = "ellipsoidal", crs.to_2d()
    covered = _vrt_cover(parts) or (bounds,)
    tile = DemTile(path, affine.c, affine.f, affine.a, -affine.e, shape, covered)
    return tile, crs, datum


def _vrt_cover(parts: Sequence[str]) -> tuple[Bounds, ...]:
    """Bounds of the sources of a VRT: its gaps are missing tiles, not the sea."""
    bounds: list[Bounds] = []
    for part in parts:
        if Path(part).suffix.lower() in (".ovr", ".msk", ".xml"):
            continue
        try:
            with rasterio.open(part) as source:
                bounds.append(tuple(source.bounds))
        except RasterioError as error:
            raise InputError(
                f"a source of the DEM's VRT cannot be opened: {Path(part).name}: {error}",
                remedy="restore the file, or build the VRT again",
            ) from error
    return tuple(bounds)


def _height_kind(name: str, asked: str, found: set[str]) -> str:
    known = found - {"", "unknown"}
    stated = next(iter(known)) if len(known) == 1 and len(found) == 1 else ""
    if asked == "auto":
        if not stated:
            raise InputError(
                f"DEM {name} does not say what its heights are counted from",
                remedy="give --dem-height ellipsoidal, egm96 (SRTM), egm2008 (Copernicus DEM) or a geoid file",
            )
        return stated
    if stated and asked in (*GRID_FILES, "ellipsoidal") and asked != stated:
        raise InputError(
            f"DEM {name} says its heights are {stated}, --dem-height says {asked}",
            remedy=f"use --dem-height {stated}, or correct the CRS of the file",
        )
    return asked


def _lonlat_bounds(sheets: Sequence[TileSheet]) -> Bounds:
    west, south, east, north = math.inf, math.inf, -math.inf, -math.inf
    for sheet in sheets:
        transformer = pyproj.Transformer.from_crs(sheet.crs, "EPSG:4326", always_xy=True)
        for tile in sheet.tiles:
            left, bottom, right, top = transformer.transform_bounds(*tile.bounds)
            west, south, east, north = min(west, left), min(south, bottom), max(east, right), max(north, top)
    return west, south, east, north


def _sheet_coordinates(sheet: TileSheet, lon_deg: FloatArray, lat_deg: FloatArray) -> FloatArray:
    """[..., 2] coordinates in the CRS of the tiles; geographic ones keep their continuous longitudes."""
    transformer = _from_wgs84(sheet.crs)
    if transformer is None:
        return np.stack([lon_deg, lat_deg], axis=-1)
    x, y = transformer.transform(lon_deg, lat_deg)
    return np.stack([np.asarray(x), np.asarray(y)], axis=-1)


@lru_cache(maxsize=32)
def _from_wgs84(wkt: str) -> pyproj.Transformer | None:
    """None where the CRS is WGS 84 itself, or a geographic one that says nothing else."""
    crs = pyproj.CRS.from_wkt(wkt)
    if crs.is_geographic and crs.to_epsg() in (None, 4326):
        return None
    return pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)


def _windows_of(
    sheet: TileSheet, xy: FloatArray, limit: bool = True
) -> Iterator[tuple[float, tuple[int, int, int, int]]]:
    """Rows and columns (first, end) of the sheet's lattice that an area needs, with what to add to x; none if far off.

    Row and column 0 are those of the first tile, so that an index means the same in every call. Geographic sheets are
    also looked at one turn of the Earth to either side.
    """
    x, y = xy[..., 0], xy[..., 1]
    known = np.isfinite(x) & np.isfinite(y)
    if not known.all():
        if not known.any():
            return
        x, y = x[known], y[known]
    west, east, south, north = float(x.min()), float(x.max()), float(y.min()), float(y.max())
    origin, rows, cols = sheet.tiles[0], sheet.rows, sheet.columns
    first_row = max(math.floor((origin.top - north) / origin.dy - 0.5) - 1, rows[0])
    last_row = min(math.ceil((origin.top - south) / origin.dy - 0.5) + 2, rows[1])
    for shift in (0.0, 360.0, -360.0) if sheet.geographic else (0.0,):
        first_col = max(math.floor((west + shift - origin.left) / origin.dx - 0.5) - 1, cols[0])
        last_col = min(math.ceil((east + shift - origin.left) / origin.dx - 0.5) + 2, cols[1])
        if first_row >= last_row or first_col >= last_col:
            continue
        if limit and (last_row - first_row) * (last_col - first_col) > MAX_WINDOW_PX:
            raise InputError(
                f"one block of the output needs {last_col - first_col} × {last_row - first_row} pixels of the DEM",
                remedy="use a coarser DEM, or a smaller block",
            )
        yield shift, (first_row, last_row, first_col, last_col)


def _strips(window: tuple[int, int, int, int]) -> Iterator[tuple[int, int, int, int]]:
    first_row, last_row, first_col, last_col = window
    rows = max(1, 8_000_000 // (last_col - first_col))
    for row in range(first_row, last_row, rows):
        yield row, min(row + rows, last_row), first_col, last_col
