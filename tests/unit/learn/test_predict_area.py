from __future__ import annotations

import hashlib
import json
from datetime import date
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import shapely
import torch
from pystac.extensions.classification import ClassificationExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import RasterExtension
from typer.testing import CliRunner

from landcover_cli.cli.app import app
from landcover_cli.config.learning import PredictConfig
from landcover_cli.config.runtime import RuntimeConfig
from landcover_cli.core.plan import Region
from landcover_cli.core.types import split_periods
from landcover_cli.core.unit import Inputs, RunContext, Unit
from landcover_cli.core.windows import PixelBox
from landcover_cli.errors import InputError, StorageError, UsageError
from landcover_cli.io.cog import check_cog
from landcover_cli.io.cubestore import CubeSpec, make_cube, write_cube
from landcover_cli.learn.modelfolder import build_model, save_model
from landcover_cli.learn.predict_area import plan_area, predict_area
from landcover_cli.registry import load
from models.spec import ModelSpec, Port

PERIODS = split_periods(date(2021, 3, 1), date(2021, 6, 1), "month")
LEFT, TOP = 500_000.0, 5_200_000.0
CLASSES = (
    {"code": 9920, "name": "Wald & Busch", "color": "#00ff10", "description": "trees"},
    {"code": 7, "name": "wald busch", "color": "#ffcc00", "description": ""},
    {"code": 11, "name": "water", "color": "#1f77b4", "description": "lakes"},
)


class Silent:
    def step(self, title, total, done):
        pass

    def unit(self, unit, seconds, error):
        pass

    def within(self, done, total, text):
        pass


def cube(path: Path, source: str, bands, dtype: str, units: str, bounds, periods=PERIODS, gsd=10.0, seed=0) -> Path:
    scale, offset = (1e-4, -0.1) if dtype == "uint16" else (1.0, 0.0)
    kind = "series" if periods else "image"
    spec = CubeSpec(source, source, kind, bands, units, scale, offset, gsd, "EPSG:32633", bounds, tuple(periods), dtype)
    # Values follow the ground, so that the same ground has the same values however the cube is cut.
    left, _, _, top = (round(edge / gsd) for edge in bounds)
    time, band, height, width = spec.shape_tbyx
    rows, cols = np.arange(height) - top, np.arange(width) + left
    phase = seed + np.arange(time * band).reshape(time, band, 1, 1)
    wave = np.sin(rows[:, None] / 7 + phase) * np.cos(cols / 5 - phase)
    data = (3000 + 2000 * wave).astype(dtype)
    valid = np.sin(rows[:, None] * 3.7 + cols * 1.3 + np.arange(time)[:, None, None]) > -0.6
    if not periods:
        valid[:] = True
    hole = [round(edge * 10 / gsd) for edge in (40, 60, 70, 90)]
    valid[:, hole[0] : hole[1], hole[2] : hole[3]] = False
    data = np.where(valid[:, None], data, np.nan if dtype == "float32" else 0).astype(dtype)
    write_cube(path, make_cube(spec, data, valid, valid.astype("uint16") * 2, valid.astype("uint16") * 3))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A model of two series and a terrain, with cubes of 160 × 140 pixels in one piece and in four."""
    folder = tmp_path_factory.mktemp("place")
    ports = (
        Port("s2", "series", ("B04", "B08"), 10.0, "reflectance_dn", "none", (0.2, 0.2), (0.1, 0.1)),
        Port("s1", "series", ("VV",), 20.0, "gamma0_linear", "db", (34.0,), (3.0,), optional=True),
        Port("dem", "image", ("elevation",), 10.0, "m", "none", (3000.0,), (900.0,)),
    )
    options = load("model", "fusion_utae").TINY
    spec = ModelSpec(
        "fusion_utae", options, ports, CLASSES, {"id": "demo", "version": "1"}, 10.0, 32, 4, {"step": "month"}
    )
    torch.manual_seed(4)
    network = build_model(spec)
    for parameter in network.parameters():
        parameter.data += torch.randn_like(parameter) * 0.3
    save_model(folder / "model", spec, network.state_dict())
    bounds = (LEFT, TOP - 1400, LEFT + 1600, TOP)
    cube(folder / "s2.zarr", "s2", ("B02", "B04", "B08"), "uint16", "reflectance_dn", bounds)
    cube(folder / "s1.zarr", "s1", ("VV",), "float32", "gamma0_linear", bounds, gsd=20.0)
    cube(folder / "dem.zarr", "dem", ("elevation",), "float32", "m", bounds, ())
    ring = shapely.Polygon(
        [(LEFT + 43, TOP - 77), (LEFT + 1480, TOP - 130), (LEFT + 1210, TOP - 1333), (LEFT + 300, TOP - 900)]
    )
    save_area(folder / "area.geojson", ring)
    return folder


def save_area(path: Path, polygon: shapely.Polygon) -> Path:
    document = shapely.geometry.mapping(polygon) | {
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    }
    path.write_text(json.dumps(document))
    return path


def pieces(place: Path, *names: str) -> dict[str, list[Path]]:
    return {name: [place / f"{name}.zarr"] for name in names or ("s2", "s1", "dem")}


def make(place: Path, out: Path, *, block=2048, names=(), aoi="area.geojson", config=None, **runtime) -> dict:
    how = RuntimeConfig(**{"executor": "serial", "workers": 1, **runtime})
    config = config or PredictConfig(batch=4, probabilities=True)
    plan = plan_area(place / "model", pieces(place, *names), place / aoi, config, how, block_px=block, name="map")
    return predict_area(plan, out, Silent())


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def mapped(place, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out") / "map"
    make(place, out)
    return out


def test_a_map_has_every_file_and_its_rasters_are_strict_cogs(mapped):
    names = sorted(path.name for path in mapped.iterdir())
    assert names == [
        "item.json",
        "legend.json",
        "map_class.qml",
        "map_class.tif",
        "map_class.tif.aux.xml",
        "map_confidence.qml",
        "map_confidence.tif",
        "map_probabilities.tif",
        "map_validity.qml",
        "map_validity.tif",
    ]
    for path in mapped.glob("*.tif"):
        check_cog(path)
    with rasterio.open(mapped / "map_class.tif") as file:
        tags = file.tags()
        assert len(tags["LC_RUN_DIGEST"]) == len(tags["LC_MODEL_DIGEST"]) == 64
        assert (tags["LC_LEGEND_ID"], tags["LC_LEGEND_VERSION"]) == ("demo", "1")
        assert tags["LC_PERIOD"] == "2021-03-01/2021-05-31"
        assert json.loads(tags["LC_LEGEND"])[0] == [9920, "Wald & Busch", "#00ff10"]
        assert file.colormap(1)[0] == (0, 255, 16, 255)
        assert len(np.unique(file.read(1))) > 2
    with rasterio.open(mapped / "map_probabilities.tif") as file:
        assert file.descriptions == ("Wald & Busch", "wald busch", "water")
        values = file.read().astype(int)
        inside = values[0] != 255
        assert np.abs(values.sum(0)[inside] - 250).max() <= 2
    text = "".join(path.read_text(errors="ignore") for path in mapped.iterdir())
    assert str(mapped.parent) not in text


def test_the_map_is_cut_exactly_to_the_pixel_centres_inside_the_area(mapped, place):
    polygon = shapely.geometry.shape(json.loads((place / "area.geojson").read_text()))
    with rasterio.open(mapped / "map_class.tif") as file:
        values, transform = file.read(1), file.transform
        left, bottom, right, top = file.bounds
    assert (left, top) == (LEFT + 40, TOP - 70)
    assert (right, bottom) == (LEFT + 1480, TOP - 1340)
    rows, cols = np.mgrid[: values.shape[0], : values.shape[1]]
    x, y = transform * (cols + 0.5, rows + 0.5)
    inside = shapely.contains_xy(polygon, x, y)
    seen = values != 255
    assert not (seen & ~inside).any()
    with rasterio.open(mapped / "map_validity.tif") as file:
        counts = file.read().astype(int)
    assert ((counts[0] == 65535) == ~inside).all()
    assert (seen == (inside & (counts.sum(0) > 0))).all()
    assert (inside & ~seen).sum() > 100


@pytest.mark.parametrize(
    ("block", "runtime"),
    [
        (64, {}),
        (48, {"executor": "threads", "workers": 2}),
        (2048, {"executor": "threads", "workers": 3, "memory": "1MB"}),
        (96, {"executor": "processes", "workers": 2}),
    ],
)
def test_the_bytes_depend_on_no_block_worker_executor_or_memory(place, mapped, tmp_path, block, runtime):
    make(place, tmp_path / "map", block=block, **runtime)
    assert digests(tmp_path / "map") == digests(mapped)


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_bytes(place, mapped, tmp_path):
    make(place, tmp_path / "map", block=64, executor="dask", workers=2)
    assert digests(tmp_path / "map") == digests(mapped)


def read_at(folder: Path, name: str, box: PixelBox) -> np.ndarray:
    with rasterio.open(next(folder.glob(f"*_{name}.tif"))) as file:
        mine = PixelBox.from_bounds(tuple(file.bounds), 10.0)
        rows, cols = box.slices_in(mine)
        return file.read()[:, rows, cols]


@pytest.mark.parametrize(("x", "y", "size"), [(700, 600, 10), (600, 300, 150), (893, 503, 12)])
def test_a_pixel_does_not_depend_on_the_area(place, mapped, tmp_path, x, y, size):
    save_area(place / "small.geojson", shapely.box(LEFT + x, TOP - y - size, LEFT + x + size, TOP - y))
    result = make(place, tmp_path / "map", aoi="small.geojson")
    with rasterio.open(tmp_path / "map" / "map_class.tif") as file:
        box = PixelBox.from_bounds(tuple(file.bounds), 10.0)
    inside = read_at(tmp_path / "map", "validity", box)[0] != 65535
    assert inside.sum() == result["area_px"]
    for name in ("class", "confidence", "validity", "probabilities"):
        small, whole = read_at(tmp_path / "map", name, box), read_at(mapped, name, box)
        assert np.array_equal(small[:, inside], whole[:, inside])


def test_a_missing_optional_input_is_recorded(place, tmp_path):
    make(place, tmp_path / "map", names=("s2", "dem"))
    item = json.loads((tmp_path / "map" / "item.json").read_text())
    assert item["properties"]["processing:lineage"] == "fusion_utae on s2 (B04 B08), dem (elevation)"
    with rasterio.open(tmp_path / "map" / "map_validity.tif") as file:
        counts = file.read()
        assert file.descriptions == ("clear observations of s2", "clear observations of s1")
        assert set(np.unique(counts[1])) == {0, 65535}


def test_the_item_is_stac_with_its_extensions(mapped):
    item = pystac.Item.from_file(str(mapped / "item.json"))
    assert item.id == "map_2021-03-01_2021-05-31"
    assert item.datetime is None
    assert item.common_metadata.start_datetime.date() == date(2021, 3, 1)
    assert item.common_metadata.end_datetime.date() == date(2021, 5, 31)
    projection = ProjectionExtension.ext(item)
    with rasterio.open(mapped / "map_class.tif") as file:
        assert projection.code == "EPSG:32633"
        assert projection.shape == list(file.shape)
        assert projection.transform == list(file.transform)[:6]
        assert projection.bbox == list(file.bounds)
    classes = ClassificationExtension.ext(item.assets["class"]).classes
    assert [c.value for c in classes] == [0, 1, 2, 255]
    assert [c.to_dict().get("lc:code") for c in classes] == [9920, 7, 11, None]
    assert len({c.name for c in classes}) == 4
    assert classes[0].color_hint == "00FF10"
    assert RasterExtension.ext(item.assets["confidence"]).bands[0].scale == 0.004
    for asset in item.assets.values():
        path = mapped / asset.href
        file = FileExtension.ext(asset)
        assert file.size == path.stat().st_size
        assert file.checksum == "1220" + hashlib.sha256(path.read_bytes()).hexdigest()
    ring = shapely.geometry.shape(item.geometry)
    assert ring.bounds == pytest.approx(item.bbox)
    assert item.bbox[0] == pytest.approx(15.0, abs=0.01)


def test_the_item_validates_against_the_core_schema_that_pystac_ships(mapped):
    pytest.importorskip("jsonschema")
    item = json.loads((mapped / "item.json").read_text())
    item["stac_extensions"] = []  # their schemas are on the network
    pystac.Item.from_dict(item).validate()


def test_the_legend_beside_the_map_is_read_back(mapped):
    document = json.loads((mapped / "legend.json").read_text())
    assert [entry["code"] for entry in document["classes"]] == [9920, 7, 11]
    assert [entry["index"] for entry in document["classes"]] == [0, 1, 2]
    assert document["nodata_index"] == 255


def test_an_area_outside_the_cubes_or_without_an_observation_leaves_nothing(place, tmp_path):
    save_area(place / "far.geojson", shapely.box(LEFT + 9000, TOP, LEFT + 9500, TOP + 100))
    with pytest.raises(InputError, match="lies outside the cubes"):
        make(place, tmp_path / "map", aoi="far.geojson")
    save_area(place / "blind.geojson", shapely.box(LEFT + 860, TOP - 580, LEFT + 880, TOP - 560))
    with pytest.raises(InputError, match="nothing in the area"):
        make(place, tmp_path / "map", aoi="blind.geojson", names=("s2", "dem"))
    save_area(place / "dot.geojson", shapely.box(LEFT + 101, TOP - 104, LEFT + 103, TOP - 102))
    with pytest.raises(InputError, match="holds no pixel centre"):
        make(place, tmp_path / "map", aoi="dot.geojson")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_cube_and_an_unwritable_target_leave_nothing(place, tmp_path):
    bounds = (LEFT, TOP - 1400, LEFT + 1600, TOP)
    bad = cube(tmp_path / "bad.zarr", "s2", ("B02", "B04", "B08"), "uint16", "reflectance_dn", bounds)
    for chunk in (bad / "data" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(chunk.read_bytes()[:40])
    config, how = PredictConfig(batch=4), RuntimeConfig(executor="serial", workers=1)
    inputs = {**pieces(place), "s2": [bad]}
    plan = plan_area(place / "model", inputs, place / "area.geojson", config, how, block_px=512)
    with pytest.raises(InputError, match=r"bad\.zarr: data is damaged"):
        predict_area(plan, tmp_path / "map", Silent())
    assert [path.name for path in tmp_path.iterdir()] == ["bad.zarr"]
    (tmp_path / "file").write_text("")
    plan = plan_area(place / "model", pieces(place), place / "area.geojson", config, how, block_px=512)
    with pytest.raises(StorageError, match="cannot write"):
        predict_area(plan, tmp_path / "file" / "map", Silent())


def test_the_plan_says_what_it_takes_without_reading(place):
    how = RuntimeConfig(executor="threads", workers=2, memory="1GB")
    plan = plan_area(place / "model", pieces(place), place / "area.geojson", PredictConfig(), how, block_px=64)
    facts = plan.describe()
    assert facts["blocks"] == len(plan.blocks) > 4
    assert facts["stride_px"] == 24
    assert facts["memory_bytes"] < 2**30
    assert facts["missing_inputs"] == []


def test_the_command_makes_a_map_and_a_plan(place, mapped, tmp_path):
    arguments = ["predict", "--model", place / "model", "--aoi", place / "area.geojson", "--out", tmp_path / "map"]
    for name in ("s2", "s1", "dem"):
        arguments += ["--cube", f"{name}={place / name}.zarr"]
    arguments += ["--batch", "4", "--probabilities", "--name", "map", "--json", "--executor", "serial"]
    plan = CliRunner().invoke(app, [str(part) for part in [*arguments, "--dry-run"]], catch_exceptions=False)
    assert json.loads(plan.stdout)["pixels"] > 0
    assert not (tmp_path / "map").exists()
    result = CliRunner().invoke(app, [str(part) for part in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["mapped_px"] > 0
    assert digests(tmp_path / "map") == digests(mapped)
    with pytest.raises(UsageError, match="is not NAME=PATH"):
        CliRunner().invoke(app, [str(part) for part in [*arguments, "--cube", "s2"]], catch_exceptions=False)
    for option, value in (("--blend", "smear"), ("--memory", "much"), ("--executor", "cloud")):
        with pytest.raises(UsageError, match=f"{option} '{value}'"):
            CliRunner().invoke(app, [str(part) for part in [*arguments, option, value]], catch_exceptions=False)


def test_the_steps_give_the_same_pixels_as_the_command(place, mapped, tmp_path):
    from landcover_cli.core.grid import ProductGrid
    from landcover_cli.steps import map as map_step
    from landcover_cli.steps import predict as predict_step

    grid = ProductGrid("EPSG:32633", 10.0, 64)
    geometry = shapely.geometry.shape(json.loads((place / "area.geojson").read_text()))
    region = Region("map", "map", str(place / "area.geojson"), geometry, PERIODS, grid.tiles_over(geometry), ())
    settings = PredictConfig(batch=4, probabilities=True).model_dump(mode="json")
    folders = {"model": place / "model"}
    for name in ("s2", "s1", "dem"):
        unit = tmp_path / name
        unit.mkdir()
        (unit / "cube.zarr").symlink_to(place / f"{name}.zarr")
        folders[f"cube/{name}/x0_y0/all"] = unit
    tiles = {}
    for tile in region.tiles:
        box = predict_step.tile_box(grid, region, tile)
        params = {"predict": settings, "grid": grid.to_dict(), "box_px": [box.row0, box.col0, box.row1, box.col1]}
        out = tmp_path / tile.id
        out.mkdir()
        predict_step.STEP.run(Unit("predict", f"map/{tile.id}", params), Inputs({}, folders), out, RunContext())
        tiles[f"tile/{tile.id}"] = out
    params = {
        "predict": settings,
        "grid": grid.to_dict(),
        "name": "map",
        "periods": [[p.start.isoformat(), p.end.isoformat()] for p in PERIODS],
        "inputs": ["dem", "s1", "s2"],
    }
    out = tmp_path / "map"
    out.mkdir()
    inputs = Inputs({"aoi": str(place / "area.geojson")}, {"model": place / "model", **tiles})
    map_step.STEP.run(Unit("map", "map", params), inputs, out, RunContext())
    assert digests(out) == digests(mapped)
