"""Terrain tiles: which ones, where they are, and what stands for the sea."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from loopback import PAGE, Site, serve, status, stay_on_loopback
from rasterio.io import MemoryFile
from typer.testing import CliRunner

from landcover_cli.cli.app import app
from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.dem import open_dem
from landcover_cli.io.downloadcheck import WrongContentError
from landcover_cli.io.fetch_dem import SOURCES, TileId, fetch_tiles, find_tiles, tiles_over, write_sea
from landcover_cli.io.fetchrecord import read_record
from landcover_cli.io.geoid import GeoidGrid
from landcover_cli.io.web import Web, WebSettings

GLO30 = SOURCES["glo30"]
ROME = TileId(41, 12)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    stay_on_loopback(monkeypatch)
    with serve() as found:
        yield found


def client() -> Web:
    return Web(WebSettings(attempts=2, sleep=lambda seconds: None, timeout_s=10.0))


def stem(tile: TileId) -> str:
    return f"Copernicus_DSM_COG_10_{tile.copernicus}_DEM"


def cog(tile: TileId, height: float = 50.0, shift_deg: float = 0.0) -> bytes:
    """A tile as in the bucket: 3600 × 3600, pixel centres on whole arc seconds from the north-west corner."""
    step = 1.0 / 3600.0
    transform = Affine(step, 0, tile.lon - step / 2 + shift_deg, 0, -step, tile.lat + 1 + step / 2)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", width=3600, height=3600, count=1, dtype="float32", crs="EPSG:4326", transform=transform,
            tiled=True, blockxsize=1024, blockysize=1024, compress="deflate",
        ) as dataset:  # fmt: skip
            dataset.write(np.full((3600, 3600), height, dtype=np.float32), 1)
        return bytes(memory.read())


def put(site: Site, *tiles: TileId, listed: bool = True) -> None:
    for tile in tiles:
        site.files[f"/{stem(tile)}/{stem(tile)}.tif"] = cog(tile)
    if listed:
        site.files["/tileList.txt"] = "".join(f"{stem(tile)}\n" for tile in tiles).encode()


def fetch(site: Site, out: Path, *tiles: TileId, **more: object):
    found = find_tiles(tiles, GLO30, out, client(), base_url=site.base, **more)  # type: ignore[arg-type]
    return fetch_tiles(found, GLO30, out, client())


def test_tiles_are_named_by_their_south_west_corner() -> None:
    assert (TileId(45, 9).name, TileId(45, 9).copernicus) == ("N45E009", "N45_00_E009_00")
    assert (TileId(-1, -72).name, TileId(-1, -72).copernicus) == ("S01W072", "S01_00_W072_00")
    assert (TileId(0, 0).name, TileId(0, -1).copernicus) == ("N00E000", "N00_00_W001_00")


def test_only_tiles_that_an_area_needs() -> None:
    inside = shapely.box(12.4, 41.3, 12.6, 41.6)
    assert tiles_over([inside]) == (ROME,)
    assert tiles_over([inside, shapely.box(12.2, 41.2, 12.3, 41.3)]) == (ROME,)
    # 0.1° of latitude are 0.134° of longitude here.
    assert tiles_over([shapely.box(12.4, 41.3, 12.88, 41.6)]) == (ROME, TileId(41, 13))
    assert tiles_over([shapely.box(12.4, 41.3, 12.86, 41.6)]) == (ROME,)
    # A triangle needs no tile of the empty corner of its bounds.
    triangle = shapely.Polygon([(10.2, 40.2), (12.4, 40.2), (10.2, 42.4)])
    assert TileId(42, 12) not in tiles_over([triangle])
    assert {(t.lat, t.lon) for t in tiles_over([triangle])} == {
        (40, 10),
        (40, 11),
        (40, 12),
        (41, 10),
        (41, 11),
        (42, 10),
    }
    # The rim: the last pixel centre of a tile lies half a sample inside.
    assert tiles_over([shapely.box(12.4, 41.3, 12.9999, 41.6)], 0.0) == (ROME, TileId(41, 13))


def test_tiles_across_the_antimeridian_and_at_the_poles() -> None:
    assert tiles_over([shapely.box(179.5, -17.6, 180.5, -17.4)]) == (TileId(-18, -180), TileId(-18, 179))
    assert {t.lat for t in tiles_over([shapely.box(10, 89.5, 11, 90)])} == {89}
    assert {t.lat for t in tiles_over([shapely.box(10, -90, 11, -89.5)])} == {-90}


def test_listed_tiles_come_and_the_others_are_the_sea(site: Site, tmp_path: Path) -> None:
    west = TileId(41, 11)
    put(site, ROME)
    files = fetch(site, tmp_path, west, ROME)
    assert [(f.name, f.status) for f in files] == [(f"{stem(ROME)}.tif", "fetched"), ("sea_N41E011.tif", "sea")]
    assert (tmp_path / f"{stem(ROME)}.tif").read_bytes() == site.files[f"/{stem(ROME)}/{stem(ROME)}.tif"]
    record = {str(entry["name"]): entry for entry in read_record(tmp_path)}
    assert record["sea_N41E011.tif"]["sea"] is True
    assert record[f"{stem(ROME)}.tif"]["heights"] == "egm2008"
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    asked = len(site.gets())
    assert [f.status for f in fetch(site, tmp_path, west, ROME)] == ["present", "sea"]
    assert len(site.gets()) == asked + 1  # the list alone
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    # A later edition has the tile: no flat one stays beside it.
    put(site, west, ROME)
    assert [f.status for f in fetch(site, tmp_path, west, ROME)] == ["fetched", "present"]
    assert not (tmp_path / "sea_N41E011.tif").exists()


def test_the_chain_reads_tiles_and_sea_as_one_terrain(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(site, ROME)
    fetch(site, tmp_path, TileId(41, 11), ROME)
    flat = GeoidGrid("egm2008", np.full((19, 37), 48.0, dtype=np.float32), -180.0, 90.0, 10.0, 10.0, 36)
    monkeypatch.setattr("landcover_cli.io.dem.open_geoid", lambda *a, **k: flat)
    dem = open_dem(tmp_path, "egm2008")
    assert len(dem.sheets) == 1
    lon, lat = np.meshgrid(np.linspace(11.01, 12.99, 40), np.linspace(41.01, 41.99, 10))
    assert dem.missing_share(lon, lat) == 0.0
    low, high = dem.height_range((11.2, 41.2, 12.8, 41.8))
    assert low == pytest.approx(47.0)
    assert high == pytest.approx(99.0)


@pytest.mark.parametrize(
    ("tile", "width", "samples"),
    [(TileId(49, 5), 3600, 3600), (TileId(50, 5), 2400, 3600), (TileId(-51, 5), 2400, 3600),
     (TileId(-50, 5), 3600, 3600), (TileId(60, 5), 1800, 3600), (TileId(75, 5), 1200, 3600),
     (TileId(84, 5), 720, 3600), (TileId(88, 5), 360, 3600),
     (TileId(49, 5), 1200, 1200), (TileId(50, 5), 800, 1200), (TileId(55, 5), 3601, 3601)],
)  # fmt: skip
def test_the_flat_tile_has_the_lattice_of_its_neighbours(
    tmp_path: Path, tile: TileId, width: int, samples: int
) -> None:
    write_sea(tmp_path / "sea.tif", tile, samples)
    with rasterio.open(tmp_path / "sea.tif") as dataset:
        assert dataset.shape == (samples, width)
        # Centres of the first column and row are the whole degrees.
        assert dataset.xy(0, 0) == pytest.approx((tile.lon, tile.lat + 1))
        assert not dataset.read(1).any()
        assert dataset.nodata is None
    assert (tmp_path / "sea.tif").stat().st_size < 20_000


def test_without_a_list_a_missing_tile_is_the_sea_only_beside_one_that_is_there(site: Site, tmp_path: Path) -> None:
    put(site, ROME, listed=False)
    assert [f.status for f in fetch(site, tmp_path, TileId(41, 11), ROME)] == ["fetched", "sea"]
    with pytest.raises(InputError, match=r"none of the 2 tiles exists at the address given \(N40E010"):
        fetch(site, tmp_path / "b", TileId(40, 10), TileId(40, 11))
    assert not (tmp_path / "b" / "lc-fetch.json").exists()


def test_a_listed_tile_that_is_not_there_is_an_error_and_not_the_sea(site: Site, tmp_path: Path) -> None:
    put(site, ROME)
    site.files["/tileList.txt"] += f"{stem(TileId(41, 13))}\n".encode()
    with pytest.raises(InputError, match=r"N41_00_E013_00.*does not exist"):
        fetch(site, tmp_path, ROME, TileId(41, 13))


def test_land_that_is_not_released_is_no_sea(site: Site, tmp_path: Path) -> None:
    put(site, ROME)
    files = fetch(site, tmp_path, ROME, TileId(40, 45))
    assert [(f.name, f.status) for f in files][-1] == ("N40E045", "withheld")
    assert not (tmp_path / "sea_N40E045.tif").exists()


def test_wrong_tiles_are_refused(site: Site, tmp_path: Path) -> None:
    put(site, ROME)
    path = f"/{stem(ROME)}/{stem(ROME)}.tif"
    good = site.files[path]
    for content, message in (
        (PAGE, "HTML page in place of a GeoTIFF"),
        (cog(TileId(41, 13)), "does not lie at N41E012"),
        (good[:40_000], "is truncated"),
    ):
        site.files[path] = content
        with pytest.raises(InputError, match=message):
            fetch(site, tmp_path, ROME)
        assert not list(tmp_path.rglob("*.tif"))
    site.files[path] = good
    with pytest.raises(WrongContentError, match="its sha256 is"):
        fetch(site, tmp_path, ROME, checksums={f"{stem(ROME)}.tif": f"sha256:{'0' * 64}"})
    site.files["/tileList.txt"] = PAGE
    with pytest.raises(InputError, match="names no tile"):
        fetch(site, tmp_path, ROME)


def hgt(value: int = 7) -> bytes:
    return np.full((3601, 3601), value, dtype=">i2").tobytes()


def packed(name: str, data: bytes) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


def test_srtm_from_a_mirror_in_any_packing(site: Site, tmp_path: Path) -> None:
    srtm = SOURCES["srtm"]
    tiles = (TileId(41, 11), ROME)
    with pytest.raises(UsageError, match="no public address"):
        find_tiles(tiles, srtm, tmp_path, client())
    site.files["/N41E012.SRTMGL1.hgt.zip"] = packed("N41E012.hgt", hgt())
    site.files["/N41/N41E012.hgt.gz"] = gzip.compress(hgt(), 1)
    site.files["/raw/N41E012.hgt"] = hgt()
    for number, pattern in enumerate(("", "{ns}/{tile}.hgt.gz", "raw/{tile}.hgt")):
        out = tmp_path / str(number)
        found = find_tiles(tiles, srtm, out, client(), base_url=site.base, pattern=pattern)
        files = fetch_tiles(found, srtm, out, client())
        assert [(f.name, f.status) for f in files] == [("N41E012.hgt", "fetched"), ("sea_N41E011.tif", "sea")]
        assert (out / "N41E012.hgt").read_bytes() == hgt()
    with (
        rasterio.open(tmp_path / "0" / "N41E012.hgt") as tile,
        rasterio.open(tmp_path / "0" / "sea_N41E011.tif") as sea,
    ):
        assert tile.shape == sea.shape
        assert tile.xy(0, 0)[0] - sea.xy(0, 0)[0] == pytest.approx(1.0)
    site.files["/raw/N41E012.hgt"] = bytes(2 * 1201**2)
    with pytest.raises(InputError, match='are no 1" tile'):
        fetch_tiles(
            find_tiles((ROME,), srtm, tmp_path / "x", client(), base_url=site.base, pattern="raw/{tile}.hgt"),
            srtm, tmp_path / "x", client(),
        )  # fmt: skip
    with pytest.raises(InputError, match="SRTM ends at 60"):
        find_tiles((TileId(60, 5),), srtm, tmp_path / "y", client(), base_url=site.base)
    with pytest.raises(UsageError, match="--pattern"):
        find_tiles((ROME,), srtm, tmp_path / "y", client(), base_url=site.base, pattern="{nonsense}.hgt")


# --- the command ------------------------------------------------------------------------------------------------------


def aoi(folder: Path) -> Path:
    path = folder / "aoi.geojson"
    path.write_text(json.dumps(shapely.geometry.mapping(shapely.box(12.4, 41.3, 12.6, 41.6))), encoding="utf-8")
    return path


def lc(*args: object) -> str:
    result = CliRunner().invoke(app, ["fetch", "dem", *map(str, args)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_says_sizes_first_and_then_fetches(site: Site, tmp_path: Path) -> None:
    put(site, ROME)
    common = ("--aoi", aoi(tmp_path), "--out", tmp_path / "dem", "--base-url", site.base)
    size = len(site.files[f"/{stem(ROME)}/{stem(ROME)}.tif"])
    text = lc(*common, "--dry-run")
    assert f"{size:,} bytes to fetch" in text
    assert not (tmp_path / "dem").exists()
    record = json.loads(lc(*common, "--dry-run", "--json"))
    assert record["bytes_to_fetch"] == size
    assert "--dem-height egm2008" in lc(*common)
    record = json.loads(lc(*common, "--json"))
    assert record["files"] == [{"name": f"{stem(ROME)}.tif", "status": "present", "size": size}]
    assert record["heights"] == "egm2008"


def test_the_command_covers_a_product(site: Site, tmp_path: Path) -> None:
    from s1product import write_product

    product = write_product(tmp_path)
    ids = (TileId(48, 12), TileId(48, 13))
    put(site, *ids)
    record = json.loads(lc(product, "--out", tmp_path / "dem", "--base-url", site.base, "--dry-run", "--json"))
    assert {f["name"] for f in record["files"]} <= {f"{stem(t)}.tif" for t in ids}
    assert record["files"]


def test_the_command_refuses_what_makes_no_sense(site: Site, tmp_path: Path) -> None:
    def fails(kind: type[Exception], message: str, *args: object) -> None:
        with pytest.raises(kind, match=message):
            CliRunner().invoke(app, ["fetch", "dem", *map(str, args)], catch_exceptions=False)

    out = ("--out", tmp_path / "dem", "--base-url", site.base)
    fails(UsageError, "which area", *out)
    fails(UsageError, "--source 'aster' is unknown", "--aoi", aoi(tmp_path), "--source", "aster", *out)
    put(site, ROME)
    lc("--aoi", aoi(tmp_path), *out)
    fails(UsageError, "holds tiles of glo30", "--aoi", aoi(tmp_path), "--source", "srtm", *out)
    site.mishaps.append(status(403))
    fails(InputError, "may not be read", "--aoi", aoi(tmp_path), "--out", tmp_path / "e", "--base-url", site.base)
