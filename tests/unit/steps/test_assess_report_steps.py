from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely
from synthetic_results import make_context, make_results

from landcover_cli.core.plan import PlanContext
from landcover_cli.core.unit import Inputs, RunContext, Unit, UnitRef
from landcover_cli.errors import InputError
from landcover_cli.steps import assess, labels, report


def planned(folder: Path, **section: Any) -> PlanContext:
    """A context in which every step before the assessment has laid out its units."""
    context = make_context(folder)
    section_now = context.config.assess.model_copy(update=section)
    context.config = context.config.model_copy(update={"assess": section_now})
    tile = context.regions[0].tiles[0].id
    context.units["composite"] = tuple(
        Unit(
            "composite",
            f"{region}/s2/{tile}/2021-01",
            files={"file/0": "/somewhere/else/a.tif"},
            needs={"scene/S2A_X": UnitRef("preprocess_s2", f"{region}/s2/S2A_X")},
        )
        for region in ("main", "there")
    )
    context.units["labels"] = tuple(labels.STEP.plan(context))
    context.units["patches"] = (Unit("patches", "all"),)
    context.units["train"] = (Unit("train", "model"),)
    context.units["map"] = (Unit("map", "main"), Unit("map", "there"))
    return context


def test_a_region_without_labels_is_assessed_only_against_a_source_of_its_own(tmp_path: Path) -> None:
    units = assess.STEP.plan(planned(tmp_path))
    assert [unit.id for unit in units] == ["main"]
    assert set(units[0].needs) == {"map", "patches", "labels/x780_y7812"}
    units = assess.STEP.plan(planned(tmp_path, source="{region}.gpkg", exclude_training=False))
    assert [(unit.id, Path(unit.files["reference"]).name) for unit in units] == [
        ("main", "main.gpkg"),
        ("there", "there.gpkg"),
    ]
    assert set(units[0].needs) == {"map"}


def test_nothing_is_assessed_or_reported_without_a_map(tmp_path: Path) -> None:
    context = planned(tmp_path)
    context.units["map"] = ()
    assert assess.STEP.plan(context) == []
    assert report.STEP.plan(context) == []


def finished(folder: Path) -> dict[str, Path]:
    """Result folders of a small map of 120 × 168 pixels at (500000, 5600000), classes 10, 20, 9920."""
    made = make_results(folder / "results")
    patches = folder / "patches"
    patches.mkdir()
    boxes = [shapely.box(500_000, 5_598_800, 500_500, 5_600_000), shapely.box(500_500, 5_598_800, 501_000, 5_600_000)]
    frame = geopandas.GeoDataFrame({"split": ["train", "test"]}, geometry=boxes, crs=32631)
    frame.to_parquet(patches / "index.parquet")
    return {"map": made / "map" / "main", "patches": patches}


def test_the_assessment_leaves_training_ground_out(tmp_path: Path) -> None:
    units = finished(tmp_path)
    area = shapely.box(500_000, 5_598_800, 501_680, 5_600_000)
    geopandas.GeoDataFrame({"code": [10]}, geometry=[area], crs=32631).to_file(tmp_path / "main.gpkg")
    unit = assess.STEP.plan(planned(tmp_path, source="{region}.gpkg"))[0]
    (tmp_path / "out").mkdir()
    assess.STEP.run(unit, Inputs(unit.files, units), tmp_path / "out", RunContext())
    document = json.loads((tmp_path / "out" / "assessment.json").read_text())
    assert document["excluded_training"] == 50 * 120
    assert document["compared"] == (168 - 50) * 115  # five rows of the map have no class
    assert document["basis"] == "census"
    assert (tmp_path / "out" / "error_matrix.csv").is_file()
    geopandas.GeoDataFrame({"code": [11]}, geometry=[area], crs=32631).to_file(tmp_path / "main.gpkg")
    with pytest.raises(InputError, match="label value 11 not in legend"):
        assess.STEP.run(unit, Inputs(unit.files, units), tmp_path / "out", RunContext())


def test_labels_of_the_run_are_a_reference(tmp_path: Path) -> None:
    context = planned(tmp_path)
    unit = assess.STEP.plan(context)[0]
    folder = tmp_path / "labels" / "x780_y7812"
    folder.mkdir(parents=True)
    (tmp_path / "legend.yaml").write_text("{id: toy, classes: {20: b, 10: a}}")
    area = shapely.box(499_840, 5_599_360, 500_480, 5_600_000)
    geopandas.GeoDataFrame({"code": [10]}, geometry=[area], crs=32631).to_file(tmp_path / "labels.gpkg")
    geopandas.GeoDataFrame(geometry=[area], crs=32631).to_file(tmp_path / "aoi.gpkg")
    made = replace(context.units["labels"][0], params={**context.units["labels"][0].params, "tile_id": "x781_y8749"})
    labels.STEP.run(made, Inputs(made.files, {}), folder, RunContext())
    units = {"map": finished(tmp_path)["map"], "labels/x780_y7812": folder}
    (tmp_path / "out").mkdir()
    assess.STEP.run(unit, Inputs(unit.files, units), tmp_path / "out", RunContext())
    document = json.loads((tmp_path / "out" / "assessment.json").read_text())
    assert document["classes"][0]["reference"] == document["compared"] == 48 * (64 - 5)


def test_the_report_names_its_inputs_and_no_path(tmp_path: Path) -> None:
    context = planned(tmp_path)
    context.units["assess"] = tuple(assess.STEP.plan(context))
    unit = report.STEP.plan(context)[0]
    assert unit.params["inputs"] == {"s2": ["S2A_X", "a.tif"]}
    assert {"map/main", "map/there", "assess/main", "model"} <= set(unit.needs)
    assert sum(name.startswith("cube/") for name in unit.needs) == 2
    made = make_results(tmp_path / "results")
    units = {
        "map/main": made / "map" / "main",
        "assess/main": made / "assess" / "main",
        "model": made / "model",
        "cube/main/s2/x/2021-01": made / "cubes",
    }
    (tmp_path / "out").mkdir()
    report.STEP.run(unit, Inputs({}, units), tmp_path / "out", RunContext())
    html = (tmp_path / "out" / "report.html").read_text()
    assert "S2A_X" in html
    assert str(tmp_path) not in html
    assert "somewhere" not in html
