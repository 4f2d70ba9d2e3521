"""`lc search`, `lc fetch scenes` and what reads their lists, against a catalogue on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from loopback import Site, serve, stay_on_loopback
from pyproj import Transformer
from s2product import bands
from stacserver import LEFT, TOP, Api, s2_item, tiff
from typer.testing import CliRunner

from landcover_cli.cli.app import app
from landcover_cli.errors import ConfigError, InputError, UsageError

SIZE = 64
KEYS = {"B02": "blue", "B11": "swir16", "SCL": "scl"}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    stay_on_loopback(monkeypatch)
    with serve() as found:
        yield found


def lc(*args: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def ground(inset_m: float) -> dict[str, Any]:
    to_degrees = Transformer.from_crs(32633, 4326, always_xy=True)
    x0, x1, y0, y1 = LEFT + inset_m, LEFT + SIZE * 10 - inset_m, TOP - SIZE * 10 + inset_m, TOP - inset_m
    ring = [list(to_degrees.transform(x, y)) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0))]
    return {"type": "Polygon", "coordinates": [ring]}


@pytest.fixture
def place(site: Site, tmp_path: Path) -> tuple[Api, Path, dict[str, np.ndarray]]:
    """Three processings of two acquisitions with their rasters, and an area within them."""
    values = bands(SIZE, 1, low=1400)
    items = []
    for day, made, baseline in (
        ("2023-06-05", "20230605T120000", "05.09"),
        ("2023-06-05", "20240105T120000", "05.10"),
        ("2023-06-25", "20230625T120000", "05.09"),
    ):
        assets = {}
        for band, key in KEYS.items():
            path = f"/data/{day}/{made}/{band}.tif"
            site.files[path] = tiff(values[band], 10.0 if band == "B02" else 20.0)
            assets[key] = {"href": site.url(path), "type": "image/tiff; application=geotiff", "roles": ["data"]}
        items.append(s2_item(day, made=made, baseline=baseline, geometry=ground(0), assets=assets))
    (tmp_path / "aoi.geojson").write_text(json.dumps(ground(100)))
    return Api(site, items), tmp_path, values


def search(api: Api, folder: Path, *more: object) -> str:
    days = [] if "--start" in more else ["--start", "2023-06", "--end", "2023-06"]
    named = ["--collection", "sentinel-2-l2a", "--aoi", folder / "aoi.geojson", "--out", folder / "scenes.json"]
    return lc("search", api.url, *named, *days, *more)


def test_from_the_catalogue_to_observations(place):
    api, folder, values = place
    shown = search(api, folder)
    assert "2 scenes in" in shown
    assert "1 older processings" in shown
    listed = json.loads((folder / "scenes.json").read_text())
    assert [item["properties"]["s2:processing_baseline"] for item in listed["features"]] == ["05.10", "05.09"]
    assert listed["lc:search"]["start"] == "2023-06-01"
    assert api.site.base not in json.dumps({**listed["lc:search"], "catalogue": ""})
    plan = json.loads(lc("fetch", "scenes", folder / "scenes.json", "--out", folder / "s2", "--dry-run", "--json"))
    assert not (folder / "s2").exists()
    total = sum(len(api.site.files[f"/data/2023-06-25/20230625T120000/{band}.tif"]) for band in KEYS)
    assert plan["bytes_to_fetch"] == 2 * total
    shown = lc("fetch", "scenes", folder / "scenes.json", "--out", folder / "s2")
    assert shown.count("fetched ") == 6
    assert f"the scenes are listed in {folder / 's2' / 'items.json'}" in shown
    record = json.loads(
        lc("preprocess", "s2", folder / "s2/items.json", "--out", folder / "obs", "--bands", "B02,B11", "--json")
    )
    assert len(record) == 2
    with rasterio.open(Path(record[0]["observation"]) / "data.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(1), values["B02"])
    again = lc("fetch", "scenes", folder / "scenes.json", "--out", folder / "s2")
    assert again.count("present ") == 6


def test_a_pipeline_reads_what_was_fetched_and_another_scene_changes_no_key(place):
    import yaml

    from landcover_cli.config.pipeline import load_pipeline
    from landcover_cli.plan import make_plan

    api, folder, _ = place
    document = {
        "aoi": "aoi.geojson",
        "grid": {"crs": "EPSG:32633", "resolution_m": 10, "tile_px": 32},
        "period": {"start": "2023-06", "end": "2023-06", "step": "month"},
        "sources": {"s2": {"type": "sentinel2_l2a", "stac": "s2/items.json", "bands": ["B02", "B11"]}},
        "tile": {"patch_px": 8},
    }
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(document))

    def keys(end: str) -> dict[str, str]:
        search(api, folder, "--start", "2023-06-01", "--end", end)
        lc("fetch", "scenes", folder / "scenes.json", "--out", folder / "s2")
        plan = make_plan(load_pipeline(folder / "pipeline.yaml"), folder)
        return {ref.id: unit.key for ref, unit in plan.units.items() if ref.step == "preprocess_s2"}

    one, both = keys("2023-06-10"), keys("2023-06-30")
    assert len(one) == 1
    assert len(both) == 2
    assert one.items() <= both.items()


def test_a_list_whose_items_have_no_file_of_their_own(place):
    import yaml

    from landcover_cli.config.pipeline import load_pipeline
    from landcover_cli.core.unit import Inputs, RunContext
    from landcover_cli.plan import load_step, make_plan

    api, folder, values = place
    search(api, folder)
    lc("fetch", "scenes", folder / "scenes.json", "--out", folder / "s2")
    listed = json.loads((folder / "s2/items.json").read_text())
    for feature in listed["features"]:
        feature["links"] = []
    (folder / "s2/bare.json").write_text(json.dumps(listed))
    source = {"type": "sentinel2_l2a", "stac": "s2/bare.json", "bands": ["B02", "B11"]}
    document = {
        "aoi": "aoi.geojson",
        "grid": {"crs": "EPSG:32633", "resolution_m": 10, "tile_px": 32},
        "period": {"start": "2023-06", "end": "2023-06", "step": "month"},
        "sources": {"s2": source},
        "tile": {"patch_px": 8},
    }
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(document))

    def plan():
        return make_plan(load_pipeline(folder / "pipeline.yaml"), folder).of_step("preprocess_s2")

    both = plan()
    (folder / "s2/bare.json").write_text(json.dumps({**listed, "features": listed["features"][:1]}))
    (one,) = plan()
    assert one.key == both[0].key
    (folder / "obs").mkdir()
    load_step("preprocess_s2").run(one.unit, Inputs(dict(one.unit.files), {}), folder / "obs", RunContext())
    with rasterio.open(folder / "obs/data.tif") as dataset:
        row, col = round((TOP - dataset.bounds.top) / 10), round((dataset.bounds.left - LEFT) / 10)
        found = dataset.read(1)
    np.testing.assert_array_equal(found, values["B02"][row:, col:][: found.shape[0], : found.shape[1]])


def test_a_dry_search_writes_nothing_and_json_says_it_all(place):
    api, folder, _ = place
    shown = json.loads(search(api, folder, "--dry-run", "--json", "--max-cloud", 5))
    assert shown == {"out": None, "scenes": [], "replaced": {}, "cloudy": 3}
    assert not (folder / "scenes.json").exists()
    shown = json.loads(search(api, folder, "--json"))
    assert [scene["cloud_percent"] for scene in shown["scenes"]] == [10.0, 10.0]
    assert len(shown["replaced"]) == 1


def test_nothing_over_an_area_is_an_empty_list_and_a_clear_statement(place):
    api, folder, _ = place
    far = {"type": "Polygon", "coordinates": [[[-60, -10], [-59, -10], [-59, -9], [-60, -9], [-60, -10]]]}
    (folder / "aoi.geojson").write_text(json.dumps(far))
    days = ["--start", "2023-06", "--end", "2023-06", "--collection", "sentinel-2-l2a"]
    args = ["search", api.url, "--aoi", folder / "aoi.geojson", "--out", folder / "scenes.json", *days]
    result = CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout.startswith("0 scenes in")
    assert "no scene of sentinel-2-l2a over" in result.stderr
    assert "3 scenes of other places or days" in result.stderr
    assert json.loads((folder / "scenes.json").read_text())["features"] == []
    with pytest.raises(InputError, match="holds no item"):
        lc("fetch", "scenes", folder / "scenes.json", "--out", folder / "s2")


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        (["--start", "2023-07", "--end", "2023-06"], ConfigError, "the end 2023-06 lies before the start 2023-07"),
        (["--start", "2023-6", "--end", "2023-06"], ConfigError, "'2023-6' is no month or day"),
        (["--collection", "sentinel-9"], InputError, "has no collection 'sentinel-9'"),
        (["--aoi", "nowhere.geojson"], InputError, r"nowhere\.geojson"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(place, more, error, words):
    api, folder, _ = place
    with pytest.raises(error, match=words):
        search(api, folder, *more)
    assert not (folder / "scenes.json").exists()


def test_a_folder_is_no_list_and_signatures_are_on_or_off(place):
    api, folder, _ = place
    (folder / "scenes.json").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        search(api, folder)
    with pytest.raises(UsageError, match="--sign 'maybe' is unknown"):
        lc("fetch", "scenes", "x.json", "--out", folder, "--sign", "maybe")
