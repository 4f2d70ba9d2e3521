from __future__ import annotations

import json
from pathlib import Path

import geopandas
import pytest
import rasterio
import shapely
from synthetic_results import TILE_X0, TILE_Y0, make_context
from typer.testing import CliRunner

from landcover_cli.core.unit import Inputs, RunContext, Unit
from landcover_cli.errors import InputError, UsageError
from landcover_cli.steps.labels import STEP


def run(unit: Unit, out: Path) -> None:
    out.mkdir()
    STEP.run(unit, Inputs(unit.files, {}), out, RunContext())


def test_labels_are_planned_where_they_are_taken_and_cut_to_the_aoi(tmp_path: Path) -> None:
    units = STEP.plan(make_context(tmp_path))
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
    context = make_context(tmp_path)
    far = shapely.box(TILE_X0 + 1e5, TILE_Y0, TILE_X0 + 1e5 + 320, TILE_Y0 + 640)
    geopandas.GeoDataFrame({"code": [7]}, geometry=[far], crs=32631).to_file(tmp_path / "labels.gpkg")
    with pytest.raises(InputError, match="no label pixel"):
        run(STEP.plan(context)[0], tmp_path / "out")


def test_without_labels_there_is_nothing_to_do(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    context.config = context.config.model_copy(update={"labels": None})
    assert STEP.plan(context) == []


def test_the_command(tmp_path: Path) -> None:
    import typer

    from landcover_cli.cli import labels

    make_context(tmp_path)
    app = typer.Typer()
    app.callback()(lambda: None)
    labels.register(app)
    common = ["labels", str(tmp_path / "labels.gpkg"), "--legend", str(tmp_path / "legend.yaml"), "--json"]
    grid = ["--crs", "EPSG:32631", "--res", "10", "--bounds", f"{TILE_X0},{TILE_Y0},{TILE_X0 + 640},{TILE_Y0 + 640}"]
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


def test_several_sources_with_weights_and_days(tmp_path: Path) -> None:
    from landcover_cli.config.labels import LabelsConfig

    context = make_context(tmp_path)
    boxes = [shapely.box(TILE_X0 + x, TILE_Y0, TILE_X0 + x + 160, TILE_Y0 + 640) for x in (320, 480)]
    columns = {"code": [7, 7], "seen": ["1999-05-01", None]}
    geopandas.GeoDataFrame(columns, geometry=boxes, crs=32631).to_file(tmp_path / "more.gpkg")
    labels = context.config.labels
    assert labels is not None
    more = {"source": str(tmp_path / "more.gpkg"), "attribute": "code", "weight": 0.5, "valid_to": "seen"}
    document = labels.model_dump() | {"others": [more]}
    context.config = context.config.model_copy(update={"labels": LabelsConfig.model_validate(document)})
    (unit,) = STEP.plan(context)
    assert unit.files["labels1"].endswith("more.gpkg")
    assert "more.gpkg" not in json.dumps(unit.params)
    assert len(unit.params["period"]) == 2
    run(unit, tmp_path / "out")
    with rasterio.open(tmp_path / "out" / "labels.weights.tif") as file:
        weight = file.read(1)
    with rasterio.open(tmp_path / "out" / "labels.tif") as file:
        index = file.read(1)
    # The first source labels the left half; of the second the label of 1999 does not hold any more.
    assert (index[:48, 48:] == 1).all()
    assert (index[:48, 32:48] == 255).all()
    assert set(weight[:48, :32].ravel().tolist()) == {1.0}
    assert set(weight[:48, 48:].ravel().tolist()) == {0.5}
    counts = json.loads((tmp_path / "out" / "counts.json").read_text())
    assert counts["out_of_date_features"] == 1
    assert [part["used_px"] for part in counts["sources"]] == [48 * 32, 48 * 16]


def test_a_legend_that_comes_with_lc(tmp_path: Path) -> None:
    from landcover_cli.errors import ConfigError

    context = make_context(tmp_path)
    labels = context.config.labels
    assert labels is not None
    context.config = context.config.model_copy(update={"labels": labels.model_copy(update={"legend": "lc:seven"})})
    (unit,) = STEP.plan(context)
    run(unit, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "legend.json").read_text())["id"] == "seven"
    context.config = context.config.model_copy(update={"labels": labels.model_copy(update={"legend": "lc:eight"})})
    with pytest.raises(ConfigError, match="does not come with lc"):
        STEP.plan(context)
