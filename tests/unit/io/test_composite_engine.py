"""Blocks, executors, memory and scenes read straight: always the same cube."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer
from s2product import EPSG, LEFT, TOP, bands, write_safe
from typer.testing import CliRunner

from landcover_cli import registry
from landcover_cli.cli.app import app
from landcover_cli.compute import open_executor
from landcover_cli.core.types import MASK_CLEAR, split_periods
from landcover_cli.errors import InputError, LcError
from landcover_cli.io.composite import BLOCK_PX, fit_memory, observation_job, write_composite
from landcover_cli.io.cubestore import CubeSpec
from landcover_cli.io.observation import Observation, create_observation
from landcover_cli.io.tilecache import TileCache, read_tiles

METHODS = registry.names("composite")
SIZE = 700
MAY = split_periods(dt.date(2021, 5, 1), dt.date(2021, 7, 1), "month")
BOUNDS = (600000.0, 4993000.0, 607000.0, 5000000.0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[Path]:
    """Six observations in two months, two of one datatake, of which each covers a part of the ground."""
    root = tmp_path_factory.mktemp("observations")
    found = []
    for n in range(6):
        rng = np.random.default_rng(n)
        east, south = 320.0 * (n % 3), 640.0 * (n % 2)
        about = Observation(
            id=f"o{n}",
            sensor="sentinel2",
            datetime=f"2021-0{5 + n // 4}-{3 + 2 * (n // 2):02d}T10:00:{n:02d}Z",
            bands=("B04", "B08"),
            units="reflectance_dn",
            scale=1e-4,
            offset=-0.1,
            gsd_m=10.0,
            crs="EPSG:32633",
            bounds_m=(BOUNDS[0] + east, BOUNDS[1], BOUNDS[2], BOUNDS[3] - south),
            dtype="uint16",
            group=f"g{n // 2 if n < 4 else n}",
        )
        shape = about.lattice.shape_yx
        folder = root / about.id
        folder.mkdir()
        with create_observation(folder, about) as (data, mask):
            data.write(rng.integers(1, 20000, (2, *shape)).astype("uint16"))
            # Blobs, so that the distance to the nearest bad pixel varies over hundreds of metres.
            blobs = rng.choice([0, 1, 1, 1, 2], (shape[0] // 90 + 1, shape[1] // 90 + 1)).astype("uint8")
            mask.write(blobs.repeat(90, 0).repeat(90, 1)[: shape[0], : shape[1]], 1)
        found.append(folder)
    return found


def spec_of(method: str) -> CubeSpec:
    layers = ("doy",) if registry.load("composite", method).CHOOSES else ()
    return CubeSpec(
        "s2", "sentinel2", "series", ("B04", "B08"), "reflectance_dn", 1e-4, -0.1, 10.0, "EPSG:32633", BOUNDS, MAY,
        "uint16", {"method": method}, layers,
    )  # fmt: skip


def tree(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


def write(folders, path: Path, method: str, executor: str = "serial", block_px: int = BLOCK_PX) -> str:
    job = replace(observation_job(folders, path, spec_of(method), method), block_px=block_px)
    with open_executor(executor, 2) as runs:
        write_composite(job, runs)
    return tree(path)


@pytest.mark.parametrize("method", METHODS)
def test_any_block_size_and_threads_give_the_same_bytes(folders, tmp_path, method):
    expected = write(folders, tmp_path / "a.zarr", method)
    assert write(folders[::-1], tmp_path / "b.zarr", method, "threads", 256) == expected
    assert write(folders, tmp_path / "c.zarr", method, "threads", 1024) == expected


@pytest.mark.parametrize("method", ["mean", "best_pixel"])
def test_processes_give_the_same_bytes(folders, tmp_path, method):
    expected = write(folders, tmp_path / "a.zarr", method)
    assert write(folders, tmp_path / "b.zarr", method, "processes", 256) == expected


@pytest.mark.slow
def test_dask_gives_the_same_bytes(folders, tmp_path):
    expected = write(folders, tmp_path / "a.zarr", "median")
    assert write(folders, tmp_path / "b.zarr", "median", "dask", 256) == expected


def test_the_best_pixel_is_what_distances_over_the_whole_ground_say(folders, tmp_path):
    import xarray as xr
    from scipy import ndimage

    write(folders[4:], tmp_path / "a.zarr", "best_pixel", block_px=256)
    cube = xr.open_zarr(tmp_path / "a.zarr", chunks=None, mask_and_scale=False).isel(time=1)
    days = {4: dt.date(2021, 6, 7), 5: dt.date(2021, 6, 7)}
    best, doy = np.full((SIZE, SIZE), -1.0), np.zeros((SIZE, SIZE), int)
    data = np.zeros((2, SIZE, SIZE), "uint16")
    for n in (4, 5):
        with rasterio.open(folders[n] / "mask.tif") as file:
            col, row = round((file.bounds.left - BOUNDS[0]) / 10), round((BOUNDS[3] - file.bounds.top) / 10)
            mask = np.zeros((SIZE, SIZE), "uint8")
            mask[row:, col:] = file.read(1)
        far = np.minimum(ndimage.distance_transform_edt(mask != 2, sampling=10.0), 1500)
        day = np.exp(-0.5 * ((days[n] - dt.date(2021, 6, 16)).days / 7.5) ** 2)
        score = 1 / (1 + np.exp(-0.2 * (far / 30 - 25))) + day + (mask == MASK_CLEAR).mean()
        better = (mask == MASK_CLEAR) & (score > best)
        best[better], doy[better] = score[better], days[n].timetuple().tm_yday
        with rasterio.open(folders[n] / "data.tif") as file:
            whole = np.zeros((2, SIZE, SIZE), "uint16")
            whole[:, row:, col:] = file.read()
        data[:, better] = whole[:, better]
    np.testing.assert_array_equal(cube["data"], data)
    np.testing.assert_array_equal(cube["doy"], doy)


class Counting:
    """An opened look without a clear pixel."""

    def __init__(self) -> None:
        self.reads = 0

    def mask(self, lattice):
        return np.full(lattice.shape_yx, 2, "uint8")

    def data(self, lattice):
        self.reads += 1
        return np.ones((2, *lattice.shape_yx), "uint16")

    def done(self):
        pass


def test_bands_of_a_look_without_a_clear_pixel_are_not_read(folders, tmp_path, monkeypatch):
    import xarray as xr

    from landcover_cli.io.looks import Handles

    look = Counting()
    monkeypatch.setattr(Handles, "reader", lambda self, index: look)
    write(folders, tmp_path / "a.zarr", "mean")
    assert look.reads == 0
    assert int(xr.open_zarr(tmp_path / "a.zarr", chunks=None)["n_obs"].min()) > 0


@given(st.integers(1, 2000), st.integers(1, 16), st.sampled_from(METHODS), st.integers(1, 100))
def test_blocks_and_workers_fit_the_memory(megabytes, workers, method, looks):
    job = observation_job([], Path("x.zarr"), spec_of(method), method)
    job = replace(job, looks=((None,) * looks,))  # type: ignore[arg-type]
    fitted, count = fit_memory(job, megabytes * 1024**2, workers)
    per_pixel = registry.load("composite", method).bytes_per_pixel(2, 2, looks)
    assert 1 <= count <= workers
    assert fitted.block_px in {256, 512, 1024}
    held = count * per_pixel * fitted.block_px**2 + fitted.cache_bytes
    assert held <= megabytes * 1024**2 or (count, fitted.block_px) == (1, 256)
    # Blocks shrink before workers are given up.
    if workers * per_pixel * 256**2 <= megabytes * 1024**2 - fitted.cache_bytes:
        assert count == workers


@pytest.fixture(scope="module")
def raster(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("raster") / "tiled.tif"
    values = np.random.default_rng(1).integers(0, 60000, (300, 410)).astype("uint16")
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint16", "tiled": True, "blockxsize": 64, "blockysize": 64}
    with rasterio.open(
        path, "w", width=410, height=300, crs="EPSG:32633", transform=Affine(10, 0, 0, 0, -10, 0), **profile
    ) as file:
        file.write(values, 1)
    return path


@given(st.lists(st.tuples(*[st.integers(0, 299)] * 2, *[st.integers(0, 409)] * 2), min_size=1, max_size=6))
def test_windows_through_the_cache_are_windows_of_the_file(raster, windows):
    tiles = TileCache(5 * 64 * 64 * 2)
    with rasterio.open(raster) as file:
        whole = file.read(1)
        for a, b, c, d in windows:
            rows, cols = (min(a, b), max(a, b) + 1), (min(c, d), max(c, d) + 1)
            found = read_tiles(tiles, "x", file, 1, rows, cols)
            np.testing.assert_array_equal(found, whole[slice(*rows), slice(*cols)])
            assert tiles._held <= 5 * 64 * 64 * 2
            assert tiles._held == sum(tile.nbytes for tile in tiles._tiles.values())


# --- scenes -----------------------------------------------------------------------------------------------------------


def lc(*args) -> str:
    result = CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def scene_values(size: int, seed: int, low: int = 1400) -> dict[str, np.ndarray]:
    values = bands(size, seed, low)
    rng = np.random.default_rng(seed)
    scl = rng.choice([4, 5, 8, 9, 3], (size // 20, size // 20), p=[0.5, 0.3, 0.08, 0.06, 0.06]).astype("uint8")
    values["SCL"] = scl.repeat(10, 0).repeat(10, 1)
    return {name: values[name] for name in ("B02", "B08", "B11", "SCL")}


def write_items(folder: Path, seeds: list[int], size: int, **facts) -> Path:
    """Scenes as tiled GeoTIFF with an item collection."""
    features = []
    for seed in seeds:
        values = facts["values"][seed] if "values" in facts else scene_values(size, seed)
        assets = {}
        for name, data in values.items():
            gsd = 10 if name in {"B02", "B08"} else 20
            profile = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "nodata": 0}
            path = folder / f"{seed}_{name}.tif"
            with rasterio.open(
                path, "w", driver="GTiff", height=data.shape[0], width=data.shape[1], count=1, dtype=data.dtype,
                crs=f"EPSG:{EPSG}", transform=Affine(gsd, 0, LEFT, 0, -gsd, TOP), **profile,
            ) as file:  # fmt: skip
                file.write(data, 1)
            assets[name] = {"href": str(path), "roles": ["data"]}
        to_degrees = Transformer.from_crs(EPSG, 4326, always_xy=True)
        edge = size * 10
        corners = [(0, 0), (edge, 0), (edge, edge), (0, edge), (0, 0)]
        ring = [list(to_degrees.transform(LEFT + x, TOP - y)) for x, y in corners]
        features.append(
            {
                "type": "Feature", "stac_version": "1.0.0", "id": f"s{seed}", "links": [], "assets": assets,
                "geometry": {"type": "Polygon", "coordinates": [ring]}, "bbox": [0, 0, 1, 1],
                "properties": {"datetime": f"2021-06-{seed + 1:02d}T10:00:00Z",
                               "s2:processing_baseline": facts.get("baseline", "05.09")},
            }
        )  # fmt: skip
    path = folder / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


JUNE = ["--start", "2021-06", "--end", "2021-06", "--bands", "B02,B08,B11"]


def arrays(path: Path) -> dict[str, np.ndarray]:
    import xarray as xr

    cube = xr.open_zarr(path, chunks=None, mask_and_scale=False)
    return {name: cube[name].values for name in ("data", "valid", "n_clear", "n_obs")}


@pytest.mark.parametrize("method", ["mean", "median"])
@pytest.mark.parametrize("baseline", ["05.09", "03.01"])
def test_scenes_read_straight_equal_the_way_by_observations(tmp_path, method, baseline):
    items = write_items(tmp_path, [0, 1, 2], 600, baseline=baseline)
    options = ["--offset", "applied"] if baseline == "03.01" else []
    # The least memory makes blocks of 256, whose edges lie within tiles and within the mask's reach.
    lc("composite", items, "--out", tmp_path / "a.zarr", *JUNE, "--method", method, "--memory", "1MB", *options)
    lc("preprocess", "s2", items, "--out", tmp_path / "obs", "--bands", "B02,B08,B11", *options)
    folders = sorted((tmp_path / "obs").iterdir())
    lc("composite", *folders, "--out", tmp_path / "b.zarr", *JUNE[:4], "--method", method)
    assert tree(tmp_path / "a.zarr") == tree(tmp_path / "b.zarr")


def test_an_empty_pixel_of_a_scene_is_not_clear(tmp_path):
    values = scene_values(100, 0)
    values["SCL"][:] = 4
    values["B11"][10, 20] = 0
    values["B02"][5, 6] = 0
    items = write_items(tmp_path, [0], 100, values={0: values})
    lc("composite", items, "--out", tmp_path / "a.zarr", *JUNE, "--memory", "1MB", "--workers", "1")
    found = arrays(tmp_path / "a.zarr")
    empty = np.zeros((100, 100), bool)
    empty[20:22, 40:42] = empty[5, 6] = True
    np.testing.assert_array_equal(found["valid"][0], ~empty)
    np.testing.assert_array_equal(found["n_obs"][0], ~empty)
    assert (found["data"][0][:, empty] == 0).all()


def test_jpeg_2000_is_brought_to_the_grid_first_and_gives_the_same(tmp_path):
    values = {n: scene_values(96, n) for n in (0, 1)}
    safes = [write_safe(tmp_path, values[n], when=f"2021-06-{n + 1:02d}T10:00:00") for n in (0, 1)]
    items = write_items(tmp_path, [0, 1], 96, values=values)
    lc("composite", *safes, "--out", tmp_path / "a.zarr", *JUNE)
    lc("composite", items, "--out", tmp_path / "b.zarr", *JUNE)
    a, b = arrays(tmp_path / "a.zarr"), arrays(tmp_path / "b.zarr")
    for name, expected in b.items():
        np.testing.assert_array_equal(a[name], expected)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_pixels_that_disprove_the_offset_stop_a_scene_read_straight(tmp_path):
    values = scene_values(200, 0, low=200)
    values["SCL"][:] = 4
    items = write_items(tmp_path, [0], 200, values={0: values})
    with pytest.raises(InputError, match=r"s0: .*the offset is no longer in the pixels"):
        lc("composite", items, "--out", tmp_path / "a.zarr", *JUNE)
    assert not (tmp_path / "a.zarr").exists()


def test_a_damaged_file_of_a_scene_is_named(tmp_path):
    items = write_items(tmp_path, [0, 1], 600)
    path = tmp_path / "1_B08.tif"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)
    with pytest.raises(InputError, match="1_B08"):
        lc("composite", items, "--out", tmp_path / "a.zarr", *JUNE)
    assert not (tmp_path / "a.zarr").exists()


# --- gaps, indices, what a cube says of itself ------------------------------------------------------------------------


def observed(
    folder: Path, months: dict[int, int | None], bands_: tuple[str, ...] = ("B04", "B08"), **facts
) -> list[Path]:
    """One observation per month of one value in all bands, or without a clear pixel; 30 pixels of a side."""
    found = []
    for month, value in months.items():
        about = Observation(
            id=f"m{month}", sensor=facts.get("sensor", "sentinel2"), datetime=f"2021-{month:02d}-10T10:00:00Z",
            bands=bands_, units=facts.get("units", "reflectance_dn"), scale=facts.get("scale", 1e-4),
            offset=facts.get("offset", -0.1), gsd_m=10.0, crs="EPSG:32633",
            bounds_m=(600000.0, 4999700.0, 600300.0, 5000000.0), dtype=facts.get("dtype", "uint16"), group=f"m{month}",
            facts=facts.get("about", {}).get(month, {}),
        )  # fmt: skip
        path = folder / about.id
        path.mkdir(parents=True)
        with create_observation(path, about) as (data, mask):
            steps = np.arange(1, len(bands_) + 1).reshape(-1, 1, 1)
            data.write((np.ones((len(bands_), 30, 30)) * (value or 1) * steps).astype(about.dtype))
            mask.write(np.full((30, 30), 2 if value is None else 1, "uint8"), 1)
        found.append(path)
    return found


def test_gaps_are_filled_after_the_counts_and_flagged(tmp_path):
    import xarray as xr

    from landcover_cli.io.cubestore import CubeSeries, check_cube

    folders = observed(tmp_path / "obs", {3: 1000, 4: None, 6: 3001, 7: None})
    span = ["--start", "2021-03", "--end", "2021-07"]
    for method, executor in (("linear", "threads"), ("linear", "processes"), ("whittaker", "threads")):
        path = tmp_path / f"{method}_{executor}.zarr"
        lc("composite", *folders, "--out", path, *span, "--fill", method, "--executor", executor)
        cube = xr.open_zarr(path, chunks=None, mask_and_scale=False, decode_coords="all")
        check_cube(cube)
        assert cube["n_clear"][:, 0, 0].values.tolist() == [1, 0, 0, 1, 0]
        assert cube["n_obs"][:, 0, 0].values.tolist() == [1, 1, 0, 1, 1]
        assert cube["filled"][:, 0, 0].values.tolist() == [False, True, True, False, True]
        assert cube["valid"].values.all()
        assert cube.attrs["fill"]["method"] == method
        assert CubeSeries.open([path]).read((600000.0, 4999700.0, 600300.0, 5000000.0)).valid_tyx.all()
    # Middle days: 16 March, 16 April, 16 May, 16 June: 31, 61 and 92 days after the first.
    data = xr.open_zarr(tmp_path / "linear_threads.zarr", chunks=None, mask_and_scale=False)["data"][:, 0, 0, 0].values
    assert data.tolist() == [1000, round(1000 + 2001 * 31 / 92), round(1000 + 2001 * 61 / 92), 3001, 3001]
    assert tree(tmp_path / "linear_threads.zarr") == tree(tmp_path / "linear_processes.zarr")


def test_without_filling_gaps_stay_gaps(tmp_path):
    import xarray as xr

    lc("composite", *observed(tmp_path / "obs", {3: 1000, 4: None, 5: 2000}), "--out", tmp_path / "a.zarr", "--start",
       "2021-03", "--end", "2021-05")  # fmt: skip
    cube = xr.open_zarr(tmp_path / "a.zarr", chunks=None, mask_and_scale=False)
    assert cube["valid"][:, 0, 0].values.tolist() == [True, False, True]
    assert "filled" not in cube
    assert cube.attrs["items_of_period"] == {"2021-03": ["m3"], "2021-04": ["m4"], "2021-05": ["m5"]}


def test_indices_are_further_bands_of_a_float_cube(tmp_path):
    import xarray as xr

    folders = observed(tmp_path / "obs", {3: 2000, 4: None})
    lc("composite", *folders, "--out", tmp_path / "a.zarr", "--start", "2021-03", "--end", "2021-04", "--index", "NDVI",
       "--index", "DVI", "--method", "medoid")  # fmt: skip
    cube = xr.open_zarr(tmp_path / "a.zarr", chunks=None)
    assert cube["band"].values.tolist() == ["B04", "B08", "NDVI", "DVI"]
    assert (cube.attrs["units"], cube.attrs["scale"], cube["data"].dtype) == ("reflectance", 1.0, np.float32)
    np.testing.assert_allclose(cube["data"][0, :, 0, 0], [0.1, 0.3, 0.5, 0.2], rtol=1e-6)
    assert np.isnan(cube["data"][1]).all()
    assert cube["valid"][:, 0, 0].values.tolist() == [True, False]
    assert cube["doy"][:, 0, 0].values.tolist() == [69, 0]
    assert cube.attrs["indices"]["NDVI"]["formula"].replace(" ", "") == "(N-R)/(N+R)"


def test_orbit_directions_are_never_mixed_unasked(tmp_path):
    import xarray as xr

    radar = {"sensor": "sentinel1", "units": "gamma0_linear", "scale": 1.0, "offset": 0.0, "dtype": "float32"}
    ways = {3: {"orbit_direction": "ASCENDING"}, 4: {"orbit_direction": "descending"}}
    folders = observed(tmp_path / "obs", {3: 1, 4: 3}, ("VV", "VH"), about=ways, **radar)
    common = ["composite", *folders, "--start", "2021-03", "--end", "2021-04", "--step", "all"]
    with pytest.raises(InputError, match="m3 is ascending, m4 descending"):
        lc(*common, "--out", tmp_path / "a.zarr")
    means = {}
    for orbit in ("ascending", "descending", "both"):
        path = tmp_path / f"{orbit}.zarr"
        lc(*common, "--out", path, "--orbit", orbit)
        means[orbit] = float(xr.open_zarr(path, chunks=None)["data"][0, 0, 0, 0])
    assert means == {"ascending": 1.0, "descending": 3.0, "both": 2.0}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--fill", "spline"], "unknown filling 'spline'"),
        (["--index", "NDVII"], "unknown index 'NDVII'"),
        (["--method", "max_ndvii"], "unknown composite 'max_ndvii'"),
        (["--orbit", "east"], "--orbit 'east' is unknown"),
        (["--bands", "B04"], "--bands beside observation folders"),
        (["--memory", "much"], "--memory: 'much' is no size"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, options, words):
    folders = observed(tmp_path / "obs", {3: 1000})
    with pytest.raises(LcError, match=words):
        lc("composite", *folders, "--out", tmp_path / "a.zarr", "--start", "2021-03", "--end", "2021-03", *options)
    assert not (tmp_path / "a.zarr").exists()


def test_a_method_without_its_bands_is_refused(tmp_path):
    folders = observed(tmp_path / "obs", {3: 1000}, ("B02", "B03"))
    with pytest.raises(LcError, match="composite 'max_ndvi' needs the bands red and nir; there is no red"):
        lc("composite", *folders, "--out", tmp_path / "a.zarr", "--start", "2021-03", "--end", "2021-03", "--method",
           "max_ndvi")  # fmt: skip
    assert not (tmp_path / "a.zarr").exists()


def test_looks_are_fed_by_day_and_those_of_a_group_follow_each_other():
    from types import SimpleNamespace

    from landcover_cli.io.looks import feeding_order

    def look(name: str, group: str, hour: int, day: int = 5):
        return SimpleNamespace(id=name, group=group, when=dt.datetime(2021, 6, day, hour, tzinfo=dt.UTC))

    looks = [look("a", "late", 12), look("b", "x", 11), look("c", "late", 10), look("d", "x", 9), look("z", "y", 23, 4)]
    for order in (looks, looks[::-1]):
        assert [one.id for one in feeding_order(order)] == ["z", "c", "a", "d", "b"]
