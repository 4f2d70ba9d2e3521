"""Terrain tiles over an area: Copernicus GLO-30 and GLO-90 from their public buckets, SRTM 1" from a mirror.

Tiles are named by their south-west corner. Layout of the buckets: one folder per tile with one COG of its name, and
`tileList.txt` with the names of all tiles that there are (readme of copernicus-dem-30m). Ocean tiles do not exist; the
sea stands at 0 m above the geoid, and a flat tile on the same pixel lattice says so to whoever reads the folder.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.errors import RasterioError
from shapely.geometry.base import BaseGeometry

from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.atomic import atomic_file
from landcover_cli.io.download import Fetched, Planned, Progress, fetch_all, plan_all
from landcover_cli.io.downloadcheck import Remote
from landcover_cli.io.fetchrecord import read_record, write_record
from landcover_cli.io.safe_s1 import open_s1_product
from landcover_cli.io.web import NotThereError, Web

MARGIN_DEG = 0.1
"""Terrain needed beside an area, in degrees of latitude (11 km): what a radar sees there may stem from beside it."""
_LIST_BYTES = 64 * 1024**2
# Width of GLO-30 tiles by latitude (product handbook): the spacing in longitude grows towards the poles.
_SPACING = ((50, 1.0), (60, 1.5), (70, 2.0), (80, 3.0), (85, 5.0), (90, 10.0))
# GLO-30 Public lacks Armenia and Azerbaijan: (south, west, north, east) of the tiles that may be withheld, not the sea.
_WITHHELD = (38, 43, 42, 51)


@dataclass(frozen=True, slots=True)
class DemSource:
    """Where tiles come from and what they are.

    Attributes:
        name: As the user says it.
        base_url: Public address; "" where there is none that is open to everyone.
        pattern: Path of a tile below the address; {tile} is N45E009, {ns} N45, {copernicus} N45_00_E009_00.
        datum: What `--dem-height` of `lc preprocess s1` must say.
        samples: Rows of a tile.
        inventory: File below the address that names all tiles; "" if there is none.
    """

    name: str
    base_url: str
    pattern: str
    datum: str
    samples: int
    inventory: str = ""


SOURCES = {
    source.name: source
    for source in (
        DemSource(
            "glo30",
            "https://copernicus-dem-30m.s3.amazonaws.com",
            "Copernicus_DSM_COG_10_{copernicus}_DEM/Copernicus_DSM_COG_10_{copernicus}_DEM.tif",
            "egm2008",
            3600,
            "tileList.txt",
        ),
        DemSource(
            "glo90",
            "https://copernicus-dem-90m.s3.amazonaws.com",
            "Copernicus_DSM_COG_30_{copernicus}_DEM/Copernicus_DSM_COG_30_{copernicus}_DEM.tif",
            "egm2008",
            1200,
            "tileList.txt",
        ),
        DemSource("srtm", "", "{tile}.SRTMGL1.hgt.zip", "egm96", 3601),
    )
}


@dataclass(frozen=True, slots=True, order=True)
class TileId:
    """A tile of one degree by its south-west corner, whole degrees; longitude −180..179."""

    lat: int
    lon: int

    @property
    def name(self) -> str:
        """N45E009."""
        return self._text("")

    @property
    def copernicus(self) -> str:
        """N45_00_E009_00."""
        return self._text("_00_").removesuffix("_")

    def _text(self, gap: str) -> str:
        ns, ew = "S" if self.lat < 0 else "N", "W" if self.lon < 0 else "E"
        return f"{ns}{abs(self.lat):02d}{gap}{ew}{abs(self.lon):03d}{gap}"


@dataclass(frozen=True, slots=True)
class DemTiles:
    """What the tiles of an area are.

    Attributes:
        remotes: Tiles to download.
        tiles: Their ids, in the same order.
        sea: Tiles that the source's list does not know.
        withheld: Tiles that it does not know, where land is known to be left out.
        listed: Whether the source has a list: if so, a missing file is an error and not the sea.
    """

    remotes: tuple[Remote, ...]
    tiles: tuple[TileId, ...]
    sea: tuple[TileId, ...]
    withheld: tuple[TileId, ...]
    listed: bool


@dataclass(frozen=True, slots=True)
class DemFile:
    """One tile of a finished or planned fetch.

    Attributes:
        name: File name; that of the flat tile for the sea.
        status: "fetched", "present", "to fetch", "sea" or "withheld".
        size: Bytes (to come); None if unknown.
    """

    name: str
    status: Literal["fetched", "present", "to fetch", "sea", "withheld"]
    size: int | None


def tiles_over(areas: Iterable[BaseGeometry], margin_deg: float = MARGIN_DEG) -> tuple[TileId, ...]:
    """Tiles that areas and their surroundings need.

    Args:
        areas: Geometries in EPSG:4326, x first; longitudes may run beyond ±180 across the antimeridian.
        margin_deg: Surroundings in degrees of latitude, ≥ 0.

    Returns:
        Tiles, sorted; each once.
    """
    found = set()
    for area in areas:
        west, south, east, north = area.bounds
        # A pixel of a tile reaches half a sample beyond its whole degree: the next tile holds the other neighbour.
        y = margin_deg + 1.0 / 3600.0
        shapely.prepare(area)
        for lat in range(max(-90, math.floor(south - y)), min(89, math.floor(north + y)) + 1):
            cosine = math.cos(math.radians(min(89.0, max(abs(lat), abs(lat + 1)))))
            x = min(y / cosine, 5.0)
            for lon in range(math.floor(west - x), math.floor(east + x) + 1):
                if area.intersects(shapely.box(lon - x, lat - y, lon + 1 + x, lat + 1 + y)):
                    found.add(TileId(lat, (lon + 180) % 360 - 180))
    return tuple(sorted(found))


def product_area(path: Path) -> BaseGeometry:
    """Footprint of a Sentinel-1 product: the hull of its geolocation grids, in EPSG:4326.

    Longitudes run beyond 180 where the product crosses the antimeridian.

    Raises:
        InputError: No Sentinel-1 product.
    """
    product = open_s1_product(path)
    hulls = []
    for swath, polarisation in product.channels:
        if polarisation == product.polarisations[0]:
            ties = product.annotation(polarisation, swath).geolocation
            lon = np.where(ties.lon_deg < 0, ties.lon_deg + 360.0, ties.lon_deg)
            lon = lon if np.ptp(ties.lon_deg) > 180.0 else ties.lon_deg
            hulls.append(shapely.convex_hull(shapely.multipoints(np.column_stack([lon, ties.lat_deg]))))
    return shapely.union_all(hulls)


def find_tiles(
    tiles: Sequence[TileId],
    source: DemSource,
    out: Path,
    web: Web,
    *,
    base_url: str = "",
    pattern: str = "",
    checksums: Mapping[str, str] | None = None,
) -> DemTiles:
    """Which of some tiles there are, and where.

    Args:
        tiles: The tiles.
        source: Where they come from.
        out: Folder for them.
        web: The client.
        base_url: A mirror; "" for the source's own address.
        pattern: Another layout of the mirror; "" for the source's own.
        checksums: By the name of the file on the server.

    Raises:
        UsageError: The source needs a mirror, the pattern is none, or the folder holds tiles of another source.
        InputError: The list of tiles cannot be read, or SRTM is asked for where it ends.
    """
    base, layout = base_url or source.base_url, pattern or source.pattern
    if not base:
        raise UsageError(
            f"{source.name} has no public address that is open to everyone", remedy="give a mirror with --base-url"
        )
    others = {str(entry.get("set")) for entry in read_record(out)} - {source.name, "None"}
    if others:
        raise UsageError(
            f"{out} holds tiles of {', '.join(sorted(others))}: heights of two sources do not mix",
            remedy="choose another --out",
        )
    beyond = [tile for tile in tiles if not -56 <= tile.lat < 60]
    if source.name == "srtm" and beyond:
        raise InputError(
            f"SRTM ends at 60° north and 56° south; {beyond[0].name} lies beyond", remedy="use --source glo30"
        )
    known = _inventory(source, base, web)
    there = [tile for tile in tiles if known is None or _stem(source, tile) in known]
    remotes = tuple(_remote(tile, source, f"{base}/{layout}", out, checksums or {}) for tile in there)
    missing = [tile for tile in tiles if tile not in set(there)]
    withheld = tuple(tile for tile in missing if _may_be_withheld(tile, source))
    sea = tuple(tile for tile in missing if tile not in withheld)
    return DemTiles(remotes, tuple(there), sea, withheld, known is not None)


def _stem(source: DemSource, tile: TileId) -> str:
    return source.pattern.partition("/")[0].format(tile=tile.name, copernicus=tile.copernicus, ns=tile.name[:3])


def _may_be_withheld(tile: TileId, source: DemSource) -> bool:
    south, west, north, east = _WITHHELD
    return source.name == "glo30" and south <= tile.lat < north and west <= tile.lon < east


def _inventory(source: DemSource, base: str, web: Web) -> frozenset[str] | None:
    if not source.inventory:
        return None
    try:
        text = web.read(f"{base}/{source.inventory}", _LIST_BYTES).decode("utf-8", errors="replace")
    except NotThereError:
        return None
    names = frozenset(re.findall(r"^\W*(Copernicus_DSM_COG_\w+_DEM)\b", text, re.MULTILINE))
    if not names:
        raise InputError(
            f"{source.inventory} at --base-url names no tile", remedy="check --base-url, or choose another mirror"
        )
    return names


def _remote(tile: TileId, source: DemSource, template: str, out: Path, checksums: Mapping[str, str]) -> Remote:
    try:
        url = template.format(tile=tile.name, copernicus=tile.copernicus, ns=tile.name[:3])
    except (KeyError, IndexError, ValueError):
        raise UsageError(
            "--pattern holds a name that is none", remedy="use {tile} (N45E009), {ns} (N45), {copernicus}"
        ) from None
    name = url.rsplit("/", 1)[-1]
    sum_of = checksums.get(name, "")
    if source.name != "srtm":
        return Remote(url, out / name, "GeoTIFF", checksum=sum_of, check=_TiffCheck(tile, name))
    target, check, limit = out / f"{tile.name}.hgt", _HgtCheck(tile), 2 * 3601**2
    if name.endswith(".zip"):
        return Remote(url, target, "zip", checksum=sum_of, unpack="zip", unpacked_limit=limit, check=check)
    if name.endswith(".gz"):
        return Remote(url, target, "gzip", checksum=sum_of, unpack="gzip", unpacked_limit=limit, check=check)
    return Remote(url, target, "data", checksum=sum_of, check=check)


@dataclass(frozen=True, slots=True)
class _TiffCheck:
    """A tile lies where its name says; the smallest overview is decoded, the last bytes of a COG are its pixels."""

    tile: TileId
    name: str

    def __call__(self, path: Path) -> None:
        try:
            with rasterio.open(path, driver="GTiff") as dataset:
                left, bottom, right, top = dataset.bounds
                geographic = dataset.crs is not None and dataset.crs.is_geographic
                dataset.read(1, out_shape=(1, 1))
                dataset.read(1, window=((dataset.height - 1, dataset.height), (dataset.width - 1, dataset.width)))
        except RasterioError as error:
            raise InputError(f"{self.name}: cannot be read ({error})", remedy="run the same command again") from None
        off = max(abs(left - self.tile.lon), abs(top - self.tile.lat - 1), abs(right - left - 1), abs(top - bottom - 1))
        if not geographic or off > 0.02:
            raise InputError(
                f"{self.name}: it does not lie at {self.tile.name}", remedy="check --base-url, or choose another mirror"
            )


@dataclass(frozen=True, slots=True)
class _HgtCheck:
    """An .hgt file has no header: its length says what it is."""

    tile: TileId

    def __call__(self, path: Path) -> None:
        size = path.stat().st_size
        if size != 2 * 3601**2:
            what = '3" tile' if size == 2 * 1201**2 else "file of that format"
            raise InputError(
                f'{self.tile.name}.hgt: {size:,} bytes are no 1" tile (25,934,402) but a {what}'
                if size == 2 * 1201**2
                else f'{self.tile.name}.hgt: {size:,} bytes; a 1" tile has 25,934,402',
                remedy="check --base-url and --pattern",
            )


def fetch_tiles(
    found: DemTiles, source: DemSource, out: Path, web: Web, *, workers: int = 4, progress: Progress | None = None
) -> tuple[DemFile, ...]:
    """Download tiles, write flat ones for the sea, and record both.

    Args:
        found: See `find_tiles`.
        source: Where they come from.
        out: Folder.
        web: The client.
        workers: Tiles at a time.
        progress: Told the bytes that arrive.

    Returns:
        Every tile, sorted by name.

    Raises:
        InputError: A tile cannot be had, or there is none at all and no list that says why.
    """
    got = fetch_all(found.remotes, web, workers=workers, absent_ok=not found.listed, progress=progress)
    sea, withheld = _missing(found, got, source)
    entries: list[dict[str, object]] = []
    files = [DemFile(name, "withheld", None) for name in sorted(t.name for t in withheld)]
    for tile, one in zip(found.tiles, got, strict=True):
        if one.status != "absent":
            # What was the sea for an earlier version of the source is so no longer.
            (out / sea_name(tile)).unlink(missing_ok=True)
            files.append(DemFile(one.name, one.status, one.size))
            entries.append({"name": one.name, "sha256": one.sha256, "size": one.size, "source": one.source})
    for tile in sea:
        write_sea(out / sea_name(tile), tile, source.samples)
        files.append(DemFile(sea_name(tile), "sea", (out / sea_name(tile)).stat().st_size))
        entries.append({"name": sea_name(tile), "sea": True})
    entries += [{"name": tile.name, "withheld": True} for tile in withheld]
    write_record(out, [{**entry, "set": source.name, "heights": source.datum} for entry in entries])
    return tuple(sorted(files, key=lambda file: file.name))


def plan_tiles(found: DemTiles, source: DemSource, web: Web, *, workers: int = 4) -> tuple[DemFile, ...]:
    """What a fetch would bring; nothing is written.

    Raises:
        InputError: As `fetch_tiles`.
    """
    plans = plan_all(found.remotes, web, workers=workers, absent_ok=not found.listed)
    sea, withheld = _missing(found, plans, source)
    files = [DemFile(tile.name, "withheld", None) for tile in withheld]
    files += [DemFile(p.name, p.status, p.size) for p in plans if p.status != "absent"]
    files += [DemFile(sea_name(tile), "sea", 0) for tile in sea]
    return tuple(sorted(files, key=lambda file: file.name))


def _missing(found: DemTiles, got: Sequence[Fetched | Planned], source: DemSource) -> tuple[list[TileId], list[TileId]]:
    """(sea, withheld) of a list, or of what the server answered.

    Raises:
        InputError: Nothing at all was found where no list could say that it is the sea.
    """
    absent = [tile for tile, one in zip(found.tiles, got, strict=True) if one.status == "absent"]
    if absent and len(absent) == len(got):
        raise InputError(
            f"none of the {len(got)} tiles exists at the address given ({absent[0].name}, …), and there is no list of "
            "tiles: it may be the wrong address as well as the sea",
            remedy="check --base-url and --pattern; for an area in the open sea, use --dem flat:0",
        )
    held = [tile for tile in absent if _may_be_withheld(tile, source)]
    return sorted([*found.sea, *(t for t in absent if t not in held)]), sorted([*found.withheld, *held])


def sea_name(tile: TileId) -> str:
    """File name of the flat tile that stands for the sea."""
    return f"sea_{tile.name}.tif"


def write_sea(path: Path, tile: TileId, samples: int) -> None:
    """A tile of 0 m on the pixel lattice of its neighbours; a few kilobytes.

    Args:
        path: Target.
        tile: Which.
        samples: Rows of the source's tiles: 3600 or 1200 (Copernicus), 3601 (SRTM).

    Raises:
        StorageError: It cannot be written.
    """
    per_degree = samples - samples % 2
    south = -tile.lat - 1 if tile.lat < 0 else tile.lat
    stretch = 1.0 if samples % 2 else next(factor for limit, factor in _SPACING if south < limit)
    dx, dy = stretch / per_degree, 1.0 / per_degree
    width = round(1.0 / dx) + samples % 2
    profile = {
        "driver": "GTiff", "height": samples, "width": width, "count": 1, "dtype": "float32", "crs": "EPSG:4326",
        "transform": Affine(dx, 0.0, tile.lon - dx / 2, 0.0, -dy, tile.lat + 1 + dy / 2),
        "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "sparse_ok": True,
    }  # fmt: skip
    with atomic_file(path) as scratch, rasterio.open(scratch, "w", **profile) as dataset:
        dataset.update_tags(SOURCE="no tile exists here: the sea, 0 m above the geoid")
