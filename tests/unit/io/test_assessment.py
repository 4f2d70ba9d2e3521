from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import typer
from typer.testing import CliRunner

from landcover_cli.assess.matrix import ErrorMatrix
from landcover_cli.core.grid import GeoBox, geobox_from_bounds
from landcover_cli.errors import InputError, UsageError
from landcover_cli.io import assessment
from landcover_cli.io.assessment import (
    legend_of_map,
    measure,
    read_label_tiles,
    read_source,
    trained_ground,
    write_assessment,
)
from landcover_cli.io.labelsource import LabelSource, write_labels
from landcover_cli.io.legendfile import write_legend
from landcover_cli.labels.legend import parse_legend

LEGEND = parse_legend({"id": "toy", "classes": {10: "a", 20: "b", 30: "c"}}, "t")
BOUNDS = (500_000.0, 5_000_000.0, 500_500.0, 5_000_400.0)
GRID = geobox_from_bounds(BOUNDS, 10.0, "EPSG:32631")


def raster(path: Path, values: np.ndarray, geobox: GeoBox = GRID, nodata: int | None = 255) -> Path:
    height, width = values.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype=values.dtype,
        count=1,
        height=height,
        width=width,
        crs=str(geobox.crs),
        transform=geobox.affine,
        nodata=nodata,
    ) as sink:
        sink.write(values, 1)
    return path


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(1).choice(np.array([0, 1, 2, 255], np.uint8), GRID.shape)


@pytest.fixture
def mapped() -> np.ndarray:
    return np.random.default_rng(2).choice(np.array([0, 1, 2, 255], np.uint8), GRID.shape)


@pytest.fixture
def folder(tmp_path: Path, mapped: np.ndarray, truth: np.ndarray) -> Path:
    write_legend(tmp_path / "legend.json", LEGEND)
    raster(tmp_path / "m_class.tif", mapped)
    codes = np.where(truth == 255, 0, 10 * (truth.astype(np.uint16) + 1))
    raster(tmp_path / "truth.tif", codes, nodata=0)
    return tmp_path


def reference(folder: Path) -> Any:
    return read_source(LabelSource(folder / "truth.tif", LEGEND))


@pytest.mark.parametrize("block", [7, 16, 1024])
def test_blocks_decide_nothing(
    folder: Path, mapped: np.ndarray, truth: np.ndarray, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assessment, "_BLOCK_PX", block)
    expected = ErrorMatrix(3)
    expected.feed(mapped, truth)
    got = measure(folder / "m_class.tif", LEGEND, reference(folder))
    assert np.array_equal(got.matrix.counts, expected.counts)
    assert np.array_equal(got.matrix.unmapped, expected.unmapped)
    assert got.map_px.tolist() == [int((mapped == i).sum()) for i in range(3)]
    # On the central meridian of a UTM zone lengths are 0.9996 of the true ones.
    assert got.map_area_m2 == pytest.approx(got.map_px * 100 / 0.9996**2, rel=1e-6)


def patches(path: Path, boxes: dict[str, Any]) -> Path:
    geopandas.GeoDataFrame({"split": list(boxes)}, geometry=list(boxes.values()), crs=32631).to_parquet(path)
    return path


def test_ground_of_training_and_validation_is_left_out(folder: Path, mapped: np.ndarray, truth: np.ndarray) -> None:
    x0, y0, _, top = BOUNDS
    boxes = {
        "train": shapely.box(x0, y0, x0 + 100, top),
        "validation": shapely.box(x0 + 100, y0, x0 + 200, top),
        "test": shapely.box(x0 + 200, y0, x0 + 300, top),
    }
    ground = trained_ground(patches(folder / "index.parquet", boxes), "EPSG:32631")
    got = measure(folder / "m_class.tif", LEGEND, reference(folder), excluded=ground)
    expected = ErrorMatrix(3)
    expected.feed(mapped[:, 20:], truth[:, 20:])
    assert np.array_equal(got.matrix.counts, expected.counts)
    assert got.excluded == int((truth[:, :20] < 3).sum())
    assert got.map_px.sum() == (mapped < 3).sum()  # the map's areas are of the whole map
    everything = patches(folder / "all.parquet", {"train": shapely.box(*BOUNDS)})
    with pytest.raises(InputError, match=r"no reference pixel to compare with: [0-9]+ lie in training"):
        measure(folder / "m_class.tif", LEGEND, reference(folder), excluded=trained_ground(everything, "EPSG:32631"))
    plain = geopandas.GeoDataFrame({"x": [1]}, geometry=[shapely.box(*BOUNDS)], crs=32631)
    plain.to_parquet(folder / "plain.parquet")
    with pytest.raises(InputError, match="no attribute 'split'"):
        trained_ground(folder / "plain.parquet", "EPSG:32631")


def test_label_tiles_are_a_reference(folder: Path, truth: np.ndarray) -> None:
    other = parse_legend({"id": "other order", "classes": {30: "c", 10: "a", 20: "b"}}, "o")
    source = LabelSource(folder / "truth.tif", other)
    for name, cols in (("left", slice(0, 20)), ("right", slice(20, 50))):
        (folder / name).mkdir()
        write_labels(folder / name / "labels.tif", GRID[0:40, cols], other, source.read)
        write_legend(folder / name / "legend.json", other)
    read = read_label_tiles([folder / "left", folder / "right"], LEGEND)
    assert np.array_equal(read(GRID), truth)
    assert np.array_equal(read(GRID[5:9, 15:30]), truth[5:9, 15:30])
    fewer = parse_legend({"id": "fewer", "classes": {10: "a"}}, "f")
    with pytest.raises(InputError, match=r"30, 20|20, 30"):
        read_label_tiles([folder / "left"], fewer)


def test_a_raster_of_codes_is_no_class_map(folder: Path) -> None:
    with pytest.raises(InputError, match="holds index 20, but legend 'toy' has 3 classes"):
        raster(folder / "codes_class.tif", np.full(GRID.shape, 20, np.uint8))
        measure(folder / "codes_class.tif", LEGEND, reference(folder))
    with pytest.raises(InputError, match="no class indices"):
        raster(folder / "f_class.tif", np.zeros(GRID.shape, np.float32))
        measure(folder / "f_class.tif", LEGEND, reference(folder))


def test_a_map_without_legend_and_a_broken_one(folder: Path) -> None:
    (folder / "legend.json").unlink()
    with pytest.raises(InputError, match=r"no legend\.json"):
        legend_of_map(folder / "m_class.tif")
    (folder / "cut.tif").write_bytes((folder / "m_class.tif").read_bytes()[:900])
    with pytest.raises(InputError, match=r"cut\.tif"):
        measure(folder / "cut.tif", LEGEND, reference(folder))


def test_the_files_hold_the_same_bytes_twice(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir()
        write_assessment(folder / name, measure(folder / "m_class.tif", LEGEND, reference(folder)), LEGEND, "none")
    for name in ("assessment.json", "error_matrix.csv"):
        assert (folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes()


def test_the_command(folder: Path) -> None:
    from landcover_cli.cli import assess

    app = typer.Typer()
    app.callback()(lambda: None)
    assess.register(app)
    command = ["assess", str(folder / "m_class.tif"), "--reference", str(folder / "truth.tif")]
    result = CliRunner().invoke(app, [*command, "--out", str(folder / "out"), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads((folder / "out" / "assessment.json").read_text())
    result = CliRunner().invoke(app, [*command, "--out", str(folder / "text"), "--design", "stratified"])
    assert result.exit_code == 0, result.output
    assert "overall accuracy" in result.stdout
    assert " ha, 95 %: " in result.stdout
    for bad in (["--design", "x"], ["--rule", "x"]):
        result = CliRunner().invoke(app, [*command, "--out", str(folder / "bad"), *bad])
        assert isinstance(result.exception, UsageError)
    result = CliRunner().invoke(app, [*command, "--out", str(folder / "out")])
    assert isinstance(result.exception, InputError)  # exists already
    points = geopandas.GeoDataFrame({"code": [10]}, geometry=[shapely.Point(0, 0)], crs=4326)
    points.to_file(folder / "p.gpkg")
    result = CliRunner().invoke(app, [*command[:-1], str(folder / "p.gpkg"), "--out", str(folder / "bad")])
    assert isinstance(result.exception, InputError)
    assert "no reference pixel" in str(result.exception)
    assert not (folder / "bad").exists()
