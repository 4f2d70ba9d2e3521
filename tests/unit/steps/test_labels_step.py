from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import geopandas
import pytest
import rasterio
import shapely
from typer.testing import CliRunner

from landcover_cli.config.pipeline import parse_pipeline
from landcover_cli.core.grid import ProductGrid
from landcover_cli.core.plan import PlanContext, Region
from landcover_cli.core.types import Period
from landcover_cli.core.unit import Inputs, RunContext, Unit
from landcover_cli.errors import InputError, UsageError
from landcover_cli.steps.labels import STEP

X0, Y0 = 499_200.0, 4_999_680.0  # a corner of the grid's tiles of 64 × 10 m


def make(folder: Path) -> PlanContext:
    """A region of one tile whose left half is labelled; its AOI leaves out the lower quarter."""
    (folder / "legend.yaml").write_text("{id: toy, classes: {1: water, 7: land}}")
    half = shapely.box(X0, Y0, X0 + 320, Y0 + 640)
    geopandas.GeoDataFrame({"code": [7]}, geometry=[half], crs=32631).to_file(folder / "labels.gpkg")
    aoi = shapely.box(X0, Y0 + 160, X0 + 640, Y0 + 640)
    geopandas.GeoDataFrame(geometry=[aoi], crs=32631).to_file(folder / "aoi.gpkg")
    config = parse_pipeline(
        {
            "aoi": "aoi.gpkg",
            "period": {"start": "2021-01", "end": "2021-02"},
            "sources": {"s1": {"type": "stack", "sensor": "sentinel1", "files": ["*.tif"]}},
            "labels": {"source": "labels.gpkg", "legend": "legend.yaml", "attribute": "code"},
        },
        "test",
    )
    grid = ProductGrid("EPSG:32631", 10.0, 64)
    tiles = grid.tiles_over(aoi)
    period = Period(date(2021, 1, 1), date(2021, 2, 1))
    regions = [
        Region("main", "both", str(folder / "aoi.gpkg"), aoi, (period,), tiles, tiles),
        Region("there", "map", str(folder / "aoi.gpkg"), aoi, (period,), tiles, tiles),
    ]
    return PlanContext(config, folder, grid, tuple(regions))


def run(unit: Unit, out: Path) -> None:
    out.mkdir()
    STEP.run(unit, Inputs(unit.files, {}), out, RunContext())


def test_labels_are_planned_where_they_are_taken_and_cut_to_the_aoi(tmp_path: Path) -> None:
    units = STEP.plan(make(tmp_path))
    assert [unit.id for unit in units] == ["main/x780_y7812"]
    assert "labels.gpkg" not in json.dumps(units[0].params)  # its content counts, not where it lies
    run(units[0], tmp_path / "out")
    with rasterio.open(tmp_path / "out" / "labels.tif") as file:
        index = file.read(1)
    assert index.shape == (64, 64)
    assert (index[:48, :32] == 1).all()
    assert (index[48:] == 255).all()
    counts = json.loads((tmp_path / "out" / "counts.json").read_text())
    assert counts["labelled_px"] == 48 * 32
    assert json.loads((tmp_path / "out" / "legend.json").read_text())["classes"][1]["code"] == 7
    run(units[0], tmp_path / "again")
    for name in ("labels.tif", "counts.json", "legend.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_labels_far_from_the_region_are_an_error(tmp_path: Path) -> None:
    context = make(tmp_path)
    far = shapely.box(X0 + 1e5, Y0, X0 + 1e5 + 320, Y0 + 640)
    geopandas.GeoDataFrame({"code": [7]}, geometry=[far], crs=32631).to_file(tmp_path / "labels.gpkg")
    with pytest.raises(InputError, match="no label pixel"):
        run(STEP.plan(context)[0], tmp_path / "out")


def test_without_labels_there_is_nothing_to_do(tmp_path: Path) -> None:
    context = make(tmp_path)
    context.config = context.config.model_copy(update={"labels": None})
    assert STEP.plan(context) == []


def test_the_command(tmp_path: Path) -> None:
    import typer

    from landcover_cli.cli import labels

    make(tmp_path)
    app = typer.Typer()
    app.callback()(lambda: None)
    labels.register(app)
    common = ["labels", str(tmp_path / "labels.gpkg"), "--legend", str(tmp_path / "legend.yaml"), "--json"]
    grid = ["--crs", "EPSG:32631", "--res", "10", "--bounds", f"{X0},{Y0},{X0 + 640},{Y0 + 640}"]
    result = CliRunner().invoke(app, [*common, "--out", str(tmp_path / "l.tif"), *grid])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["labelled_px"] == 32 * 64
    result = CliRunner().invoke(app, [*common, "--out", str(tmp_path / "m.tif"), "--like", str(tmp_path / "l.tif")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "m.tif").read_bytes() == (tmp_path / "l.tif").read_bytes()
    for bad in ([], ["--crs", "EPSG:32631"], [*grid[:-1], "1,2,3"], [*grid[:-1], "1,2,0,0"], ["--crs", "x", *grid[2:]]):
        result = CliRunner().invoke(app, [*common, "--out", str(tmp_path / "n.tif"), *bad])
        assert isinstance(result.exception, UsageError), result.output
    assert not (tmp_path / "n.tif").exists()
