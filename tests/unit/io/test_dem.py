"""DEMs: datum, coverage, tiles, and heights that depend on the pixel alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from landcover_cli.core.grid import geobox_from_bounds
from landcover_cli.errors import InputError
from landcover_cli.io import demtiles
from landcover_cli.io import geoid as geoid_module
from landcover_cli.io.dem import datum_offset, open_dem
from landcover_cli.sar.ground import Block, MapLattice, ground_nodes, lattice_of, to_lonlat

GEO = MapLattice("EPSG:4326", 0.0, 0.0, 0.001, -0.001)


def _write(path: Path, values: np.ndarray, left: float, top: float, step: float, crs: str | None = "EPSG:4326") -> Path:
    ny, nx = values.shape
    transform = Affine(step, 0, left, 0, -step, top)
    options = {"driver": "GTiff", "count": 1, "dtype": values.dtype, "nodata": -9999, "transform": transform}
    with rasterio.open(path, "w", height=ny, width=nx, crs=crs, **options) as target:
        target.write(values, 1)
    return path


def _plane(left: float, top: float, step: float, ny: int, nx: int) -> np.ndarray:
    x = left + (np.arange(nx) + 0.5) * step
    y = top - (np.arange(ny) + 0.5) * step
    return (1000 * (x[None, :] - 10) + 500 * (y[:, None] - 45)).astype(np.float64)


@pytest.fixture
def plane(tmp_path: Path) -> Path:
    return _write(tmp_path / "plane.tif", _plane(10, 46, 0.01, 100, 100), 10, 46, 0.01)


def _block(west: float, north: float, height: int, width: int) -> Block:
    return Block(round(-north / 0.001), round(west / 0.001), height, width)


def _truth(block: Block) -> np.ndarray:
    x = 0.001 * (block.col0 + np.arange(block.width) + 0.5)
    y = -0.001 * (block.row0 + np.arange(block.height) + 0.5)
    return 1000 * (x[None, :] - 10) + 500 * (y[:, None] - 45)


def test_plane_is_reproduced(plane: Path) -> None:
    block = _block(10.1, 45.9, 60, 70)
    np.testing.assert_allclose(open_dem(plane, "ellipsoidal").heights(GEO, block), _truth(block), atol=1e-8)


def test_heights_depend_on_the_pixel_alone(plane: Path, shared_data) -> None:
    rome = shared_data("s1/sarsen_rome") / "Rome-30m-DEM.tif"
    dem = open_dem(rome, str(shared_data("s1/egm96") / "egm96_15min.tif"))
    lattice, block = lattice_of(geobox_from_bounds((288_000, 4_648_000, 290_000, 4_650_000), 10, "EPSG:32633"))
    whole = dem.heights(lattice, block)
    for size in (7, 64, 150):
        for part in block.cut(size):
            r, c = part.row0 - block.row0, part.col0 - block.col0
            got = dem.heights(lattice, part)
            assert np.array_equal(got, whole[r : r + part.height, c : c + part.width], equal_nan=True)


def test_datum_is_added_in_rome(shared_data) -> None:
    rome = shared_data("s1/sarsen_rome") / "Rome-30m-DEM.tif"
    geoid = str(shared_data("s1/egm96") / "egm96_15min.tif")
    lattice = MapLattice("EPSG:4326", 0.0, 0.0, 0.001, -0.001)
    block = _block(12.48, 42.02, 30, 30)
    with_geoid = open_dem(rome, geoid).heights(lattice, block)
    without = open_dem(rome, "egm96", geoid_dirs=[Path(geoid).parent]).heights(lattice, block)
    assert np.array_equal(with_geoid, without)
    with rasterio.open(rome) as source:
        raw = source.read(1, window=source.window(12.48, 41.99, 12.51, 42.02)).mean()
    assert with_geoid.mean() - raw == pytest.approx(48.4, abs=1.5)


def test_auto_takes_the_datum_of_the_file(shared_data) -> None:
    rome = shared_data("s1/sarsen_rome") / "Rome-30m-DEM.tif"
    dem = open_dem(rome, geoid_dirs=[shared_data("s1/egm96")])
    assert dem.height_kind == "egm96"
    with pytest.raises(InputError, match="says its heights are egm96"):
        open_dem(rome, "egm2008")


def test_missing_geoid_fails_loudly(plane: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(geoid_module, "proj_folders", lambda: [tmp_path])
    with pytest.raises(InputError) as caught:
        open_dem(plane, "egm2008")
    assert "us_nga_egm08_25" in caught.value.remedy


def test_unstated_datum_is_asked_for(plane: Path) -> None:
    with pytest.raises(InputError, match="does not say") as caught:
        open_dem(plane)
    assert "--dem-height" in caught.value.remedy


def test_without_crs_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "bare.tif", np.zeros((4, 4)), 10, 46, 0.01, crs=None)
    with pytest.raises(InputError, match="no coordinate reference system"):
        open_dem(path, "ellipsoidal")


def test_folder_of_tiles_has_no_seam(tmp_path: Path) -> None:
    for row in range(2):
        for col in range(2):
            left, top = 10 + 0.5 * col, 46 - 0.5 * row
            _write(tmp_path / f"t{row}{col}.tif", _plane(left, top, 0.01, 50, 50), left, top, 0.01)
    _write(tmp_path / "t00_WBM.tif", np.full((50, 50), 7.0), 10, 46, 0.01)
    block = _block(10.4, 45.6, 200, 200)
    dem = open_dem(tmp_path, "ellipsoidal")
    assert len(dem.files) == 4
    np.testing.assert_allclose(dem.heights(GEO, block), _truth(block), atol=1e-8)


def test_tiles_of_other_spacing_join_within_half_a_pixel(tmp_path: Path) -> None:
    # Copernicus tiles change their longitude spacing at 50° of latitude.
    _write(tmp_path / "a.tif", _plane(10, 46, 0.01, 50, 100), 10, 46, 0.01)
    _write(tmp_path / "b.tif", _plane(10, 45.5, 0.005, 100, 200), 10, 45.5, 0.005)
    block = _block(10.2, 45.6, 200, 300)
    got = open_dem(tmp_path, "ellipsoidal").heights(GEO, block)
    assert np.isfinite(got).all()
    assert np.abs(got - _truth(block)).max() <= 500 * 0.005 + 1e-6


def test_coverage_says_how_much_is_missing(plane: Path) -> None:
    lon, lat = np.meshgrid(np.linspace(10.5, 11.5, 101)[:-1], np.linspace(45.1, 45.9, 50))
    dem = open_dem(plane, "ellipsoidal")
    assert dem.missing_share(lon, lat) == pytest.approx(0.49, abs=0.011)
    with pytest.raises(InputError, match=r"scene X: (49|50)\.\d %"):
        dem.require_cover(lon, lat, "scene X")
    dem.require_cover(lon - 0.5, lat, "scene X")


def test_voids_are_the_sea_and_gaps_are_not(tmp_path: Path, shared_data) -> None:
    values = np.full((100, 100), 50.0)
    values[40:60, 40:60] = -9999
    path = _write(tmp_path / "void.tif", values, 10, 46, 0.01)
    geoid = str(shared_data("s1/egm96") / "egm96_15min.tif")
    block = _block(10.5, 45.5, 4, 4)
    sea = open_dem(path, geoid).heights(GEO, block)
    undulation = geoid_module.open_geoid(geoid).undulation(np.array([10.502]), np.array([45.498]))[0]
    np.testing.assert_allclose(sea, undulation, atol=0.05)
    assert np.isnan(open_dem(path, geoid, voids_are_sea=False).heights(GEO, block)).all()
    assert np.isnan(open_dem(path, "ellipsoidal").heights(GEO, block)).all()
    assert np.isnan(open_dem(path, geoid).heights(GEO, _block(9.5, 45.5, 4, 4))).all()


def test_gap_of_a_vrt_is_missing_not_sea(tmp_path: Path) -> None:
    vrt_folder = tmp_path / "tiles"
    vrt_folder.mkdir()
    _write(vrt_folder / "a.tif", np.full((50, 50), 5.0), 10, 46, 0.01)
    _write(vrt_folder / "b.tif", np.full((50, 50), 5.0), 10.6, 46, 0.01)
    vrt = tmp_path / "dem.vrt"
    sources = "".join(
        f'<SimpleSource><SourceFilename relativeToVRT="1">tiles/{name}.tif</SourceFilename><SourceBand>1</SourceBand>'
        f'<SrcRect xOff="0" yOff="0" xSize="50" ySize="50"/><DstRect xOff="{x}" yOff="0" xSize="50" ySize="50"/>'
        "</SimpleSource>"
        for name, x in (("a", 0), ("b", 60))
    )
    vrt.write_text(
        '<VRTDataset rasterXSize="110" rasterYSize="50"><SRS>EPSG:4326</SRS>'
        "<GeoTransform>10, 0.01, 0, 46, 0, -0.01</GeoTransform>"
        f'<VRTRasterBand dataType="Float64" band="1"><NoDataValue>-9999</NoDataValue>{sources}</VRTRasterBand>'
        "</VRTDataset>"
    )
    dem = open_dem(vrt, "ellipsoidal")
    assert dem.missing_share(np.array([10.2, 10.55, 10.8]), np.array([45.8] * 3)) == pytest.approx(1 / 3)
    assert np.isnan(dem.heights(GEO, _block(10.55, 45.8, 3, 3))).all()


def test_projected_dem_on_a_geographic_grid(tmp_path: Path) -> None:
    x = 500_000 + (np.arange(200) + 0.5) * 30
    y = 5_000_000 - (np.arange(200) + 0.5) * 30
    values = (0.01 * (x[None, :] - 500_000) + 0.02 * (y[:, None] - 5_000_000)).astype(np.float64)
    path = _write(tmp_path / "utm.tif", values, 500_000, 5_000_000, 30, "EPSG:32632")
    lattice, block = lattice_of(geobox_from_bounds((501_000, 4_997_000, 502_000, 4_998_000), 10, "EPSG:32632"))
    easting = 501_000 + 5 + 10 * np.arange(100)
    northing = 4_998_000 - 5 - 10 * np.arange(100)
    truth = 0.01 * (easting[None, :] - 500_000) + 0.02 * (northing[:, None] - 5_000_000)
    np.testing.assert_allclose(open_dem(path, "ellipsoidal").heights(lattice, block), truth, atol=1e-3)


def test_over_the_antimeridian(tmp_path: Path) -> None:
    _write(tmp_path / "e.tif", np.full((100, 100), 10.0), 179, 1, 0.01)
    _write(tmp_path / "w.tif", np.full((100, 100), 10.0), -180, 1, 0.01)
    lattice = MapLattice("EPSG:32660", 0.0, 0.0, 100.0, -100.0)
    centre = Block(-500, 8330, 40, 40)
    nodes = ground_nodes(lattice, centre)
    assert nodes.lon_deg.min() < 180 < nodes.lon_deg.max()
    np.testing.assert_allclose(open_dem(tmp_path, "ellipsoidal").heights(lattice, centre), 10.0)


def test_flat(shared_data) -> None:
    block = _block(12.5, 42.0, 5, 5)
    np.testing.assert_allclose(open_dem("flat:120").heights(GEO, block), 120.0)
    geoid = str(shared_data("s1/egm96") / "egm96_15min.tif")
    assert open_dem("flat:0", geoid).heights(GEO, block).mean() == pytest.approx(48.5, abs=0.2)
    for text in ("flat:", "flat:high", "flat:1e9", "flat:nan"):
        with pytest.raises(InputError, match="no height"):
            open_dem(text)


def test_height_range_encloses_the_heights(plane: Path) -> None:
    dem = open_dem(plane, "ellipsoidal")
    low, high = dem.height_range((10.1, 45.1, 10.5, 45.5))
    heights = dem.heights(GEO, _block(10.1, 45.5, 400, 400))
    assert low <= heights.min() and high >= heights.max()
    assert high - low < 800


def test_wrong_datum_is_seen() -> None:
    rng = np.random.default_rng(1)
    known = rng.uniform(0, 500, 210)
    noise = rng.normal(0, 4, 210)
    undulation = np.full(210, 48.4)
    assert datum_offset(known + noise, known, undulation) == pytest.approx(0, abs=1)
    for wrong in (-48.4, 48.4):
        with pytest.raises(InputError, match="vertical datum"):
            datum_offset(known + noise + wrong, known, undulation)
    with pytest.raises(InputError, match=r"DEM a\.tif lies .* own grid of S1B"):
        datum_offset(known - 48.4, known, undulation, ("a.tif", "S1B"))
    assert np.isnan(datum_offset(np.full(210, np.nan), known, undulation))


def test_bad_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        open_dem(tmp_path / "none.tif", "ellipsoidal")
    with pytest.raises(InputError, match="holds no raster"):
        open_dem(tmp_path, "ellipsoidal")
    (tmp_path / "bad.tif").write_bytes(b"II*\0")
    with pytest.raises(InputError, match=r"bad\.tif"):
        open_dem(tmp_path / "bad.tif", "ellipsoidal")


def test_truncated_tile_is_refused(tmp_path: Path, plane: Path) -> None:
    cut = tmp_path / "cut.tif"
    shutil.copy(plane, cut)
    with cut.open("r+b") as handle:
        handle.truncate(20_000)
    with pytest.raises(InputError, match=r"cut\.tif"):
        open_dem(cut, "ellipsoidal").heights(GEO, _block(10.1, 45.9, 700, 700))


def test_a_file_that_changes_is_read_again(tmp_path: Path, plane: Path) -> None:
    block = _block(10.1, 45.9, 20, 20)
    before = open_dem(plane, "ellipsoidal").heights(GEO, block)
    _write(tmp_path / "new.tif", _plane(10, 46, 0.01, 100, 100) + 100.0, 10, 46, 0.01).replace(plane)
    np.testing.assert_allclose(open_dem(plane, "ellipsoidal").heights(GEO, block), before + 100.0, atol=1e-8)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int16"])
def test_kept_chunks_are_what_the_file_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    """Windows over several small chunks, read in a row and out of order, while few are kept."""
    monkeypatch.setattr(demtiles, "CHUNK_PX", 16)
    monkeypatch.setattr(demtiles, "KEPT_BYTES", 5 * 16 * 16 * 8)
    monkeypatch.setattr(demtiles, "_kept", demtiles._Kept())
    rng = np.random.default_rng(3)
    values = rng.uniform(-500, 5000, (90, 110)).astype(dtype)
    values[40:45, 50:60] = -9999
    expected = np.where(values == -9999, np.nan, values.astype(np.float64))
    path = _write(tmp_path / "small.tif", values, 10, 46, 0.01)
    sheet = open_dem(path, "ellipsoidal").sheets[0]
    for _ in range(60):
        rows, cols = np.sort(rng.integers(0, 91, 2)), np.sort(rng.integers(0, 111, 2))
        if rows[0] < rows[1] and cols[0] < cols[1]:
            got = demtiles.paste(sheet, (*map(int, rows), *map(int, cols)), np.nan)
            assert np.array_equal(got, expected[slice(*rows), slice(*cols)], equal_nan=True)
            assert demtiles._kept.nbytes == sum(a.nbytes for a in demtiles._kept._arrays.values()) <= 5 * 16 * 16 * 8
    around = demtiles.paste(sheet, (-5, 20, 100, 130), np.nan)
    assert np.array_equal(around[5:, :10], expected[:20, 100:]) and np.isnan(around[:5]).all()


def test_nodes_stay_close_to_the_ground() -> None:
    from landcover_cli.sar.ground import ellipsoid_surface, interpolate_nodes

    lattice = MapLattice("EPSG:32633", 0.0, 0.0, 10.0, -10.0)
    block = Block(-700_000, 70_001, 60, 90)
    nodes = ground_nodes(lattice, block)
    x = 10 * (block.col0 + np.arange(90) + 0.5)
    y = -10 * (block.row0 + np.arange(60) + 0.5)
    lon, lat = to_lonlat("EPSG:32633", *np.meshgrid(x, y))
    exact = ellipsoid_surface(lon, lat)[0]
    error = np.linalg.norm(interpolate_nodes(nodes.surface_m, nodes.frame, block) - exact, axis=-1)
    assert error.max() < 1e-3


@pytest.mark.parametrize("value", [-8888.0, 32767.0, np.inf])
def test_what_is_no_height_is_refused(tmp_path: Path, value: float) -> None:
    heights = np.full((100, 100), 50.0)
    heights[40, 40] = value
    dem = open_dem(_write(tmp_path / "bare.tif", heights, 10, 46, 0.01), "ellipsoidal")
    with pytest.raises(InputError, match=rf"DEM bare\.tif holds a height of {value:g} m") as caught:
        dem.height_range((10.0, 45.1, 10.9, 45.9))
    assert "gdal_edit.py -a_nodata" in str(caught.value.remedy)
    with pytest.raises(InputError, match="holds a height"):
        dem.heights(GEO, _block(10.1, 45.9, 800, 800))
