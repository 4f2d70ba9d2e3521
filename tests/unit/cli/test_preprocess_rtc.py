"""`lc preprocess rtc` from a list of items to a cube."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from rtcproduct import footprint, opera_item, pc_item, write_collection
from typer.testing import CliRunner

from landcover_cli.cli.app import app
from landcover_cli.errors import ConfigError, InputError, UsageError

CORNER = (480000.0, 4992000.0)
RNG = np.random.default_rng(2)


def lc(*args: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def power() -> dict[str, np.ndarray]:
    return {band: RNG.gamma(4.4, level, (40, 40)).astype("float32") for band, level in (("VV", 0.02), ("VH", 0.005))}


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, list[dict[str, np.ndarray]]]:
    looks = [power(), power(), power()]
    items = [
        pc_item(tmp_path, "2022-07-03T17:15:00", looks[0], CORNER, orbit=44001),
        pc_item(tmp_path, "2022-07-15T17:15:00", looks[1], CORNER, orbit=44176),
        opera_item(tmp_path, "2022-07-06T05:20:08", "T022-045677-IW1", looks[2], CORNER),
    ]
    write_collection(tmp_path / "items.json", items)
    return tmp_path, looks


def test_from_items_to_a_cube(place):
    folder, looks = place
    args = ["preprocess", "rtc", folder / "items.json", "--out", folder / "obs", "--orbit", "ascending"]
    assert lc(*args, "--dry-run").splitlines() == [
        f"would write {folder / 'obs' / name}" for name in ("S1A_20220703T171500_044001", "S1A_20220715T171500_044176")
    ]
    assert not (folder / "obs").exists()
    records = json.loads(lc(*args, "--json"))
    assert [record["orbit_direction"] for record in records] == ["ascending"] * 2
    with rasterio.open(Path(records[0]["observation"]) / "data.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(), np.stack([looks[0]["VV"], looks[0]["VH"]]))
    observations = [record["observation"] for record in records]
    lc("composite", *observations, "--out", folder / "cube.zarr", "--start", "2022-07", "--end", "2022-07")
    with xr.open_zarr(folder / "cube.zarr", consolidated=False) as cube:
        mean = (looks[0]["VH"].astype(float) + looks[1]["VH"]) / 2
        np.testing.assert_allclose(cube["data"][0, 1], mean, rtol=2e-7)
        assert int(cube["n_obs"].max()) == 2


def test_an_area_one_band_and_both_directions(place):
    folder, looks = place
    area = footprint((CORNER[0] + 100, CORNER[1] - 100), (10, 10), 10.0, 32633)
    (folder / "aoi.geojson").write_text(json.dumps(area))
    args = ["--aoi", folder / "aoi.geojson", "--polarisation", "VH", "--json", "--out", folder / "obs"]
    records = json.loads(lc("preprocess", "rtc", folder / "items.json", *args))
    assert {record["orbit_direction"] for record in records} == {"ascending", "descending"}
    with rasterio.open(Path(records[0]["observation"]) / "data.tif") as dataset:
        row, col = round((CORNER[1] - dataset.bounds.top) / 10), round((dataset.bounds.left - CORNER[0]) / 10)
        found = dataset.read()
    assert 10 <= found.shape[1] <= 12
    np.testing.assert_array_equal(found[0], looks[0]["VH"][row:, col:][: found.shape[1], : found.shape[2]])


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        (["--orbit", "up"], UsageError, "--orbit 'up' is unknown"),
        (["--units", "power"], UsageError, "--units 'power' is unknown"),
        (["--polarisation", "VV,VV"], UsageError, "is no list of VV, VH, HH, HV"),
        (["--polarisation", "HH"], InputError, "has no asset of HH"),
        (["--speckle", "lee_sigma"], ConfigError, "needs values of the whole scene"),
        (["--speckle", "lee", "--speckle-option", "looks=many"], UsageError, "is not NAME=VALUE"),
        (["--units", "db"], InputError, "said to be decibels, but none of"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(place, more, error, words):
    folder, _ = place
    with pytest.raises(error, match=words):
        lc("preprocess", "rtc", folder / "items.json", "--out", folder / "obs", *more)
    assert not list(folder.glob("obs/*"))
    far = footprint((CORNER[0] + 90000, CORNER[1]), (10, 10), 10.0, 32633)
    (folder / "aoi.geojson").write_text(json.dumps(far))
    with pytest.raises(InputError, match="none of 3 items in"):
        lc("preprocess", "rtc", folder / "items.json", "--out", folder / "obs", "--aoi", folder / "aoi.geojson")
