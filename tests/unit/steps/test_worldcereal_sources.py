"""The sources of the Belgian example on the real patches, one of which has no 10 m bands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from landcover_cli.config.pipeline import parse_pipeline
from landcover_cli.core.unit import Inputs, RunContext
from landcover_cli.errors import InputError
from landcover_cli.io.cubestore import CubeSeries
from landcover_cli.plan import load_step, make_plan

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "worldcereal_belgium.yaml"


@pytest.fixture(autouse=True)
def _two_steps(monkeypatch):
    monkeypatch.setattr("landcover_cli.plan.ORDER", ("preprocess_s2", "composite"))


def plan_of(shared_data, **changes):
    document = yaml.safe_load(EXAMPLE.read_text())
    document["vars"]["data"] = str(shared_data("labelled/worldcereal-patches").parents[1])
    document["sources"]["s2_10m"] |= changes
    return make_plan(parse_pipeline(document, EXAMPLE.name), EXAMPLE.parent)


def test_the_patch_without_10_m_bands_goes_on_without_them(shared_data):
    sources = {}
    for planned in plan_of(shared_data).units.values():
        region, source, *_ = planned.unit.id.split("/")
        sources.setdefault(region, set()).add(source)
    assert sources == {
        "a": {"s1", "s2_10m", "s2_20m", "dem"},
        "b": {"s1", "s2_10m", "s2_20m", "dem"},
        "c": {"s1", "s2_20m", "dem"},
    }


def test_asking_for_the_bands_all_the_same_names_the_one_that_is_missing(shared_data):
    with pytest.raises(InputError, match=r"source 's2_10m': band B02 is missing in S2_L2A_20m_000028085BF08E7E"):
        plan_of(shared_data, optional=False)


def test_one_month_against_numpy(shared_data, tmp_path):
    import h5py

    units = [p.unit for p in plan_of(shared_data).units.values() if p.unit.id.startswith("b/s2_20m/")]
    may = [unit for unit in units if unit.id.endswith("2019-05")]
    for unit in may:
        (tmp_path / unit.id).mkdir(parents=True)
        load_step("composite").run(unit, Inputs(dict(unit.files), {}), tmp_path / unit.id, RunContext())
    found = CubeSeries.open(tmp_path.rglob("cube.zarr")).read((574680.0, 5621800.0, 575320.0, 5622440.0))
    (path,) = (shared_data("labelled/worldcereal-patches") / "0000280849BAC91C").glob("S2_L2A_20m_*.nc")
    with h5py.File(path) as file:
        unit_text = (
            file["timestamp"].attrs["units"].decode()
            if isinstance(file["timestamp"].attrs["units"], bytes)
            else file["timestamp"].attrs["units"]
        )
        step, start = unit_text.split(" since ")
        factor = {"seconds": "s", "minutes": "m", "hours": "h", "days": "D"}[step]
        times = np.datetime64(start.replace(" ", "T")) + file["timestamp"][:].astype(f"timedelta64[{factor}]")
        chosen = np.nonzero((times >= np.datetime64("2019-05-01")) & (times < np.datetime64("2019-06-01")))[0]
        scl, b05 = file["SCL"][:], file["B05"][:].astype(int)
    total, count = np.zeros((32, 32), int), np.zeros((32, 32), int)
    ys, xs = np.mgrid[0:32, 0:32]

    def near(where: np.ndarray, radius_px: float) -> np.ndarray:
        py, px = np.nonzero(where)
        distance = np.hypot(ys[..., None] - py, xs[..., None] - px)
        return (distance <= radius_px + 1e-9).any(axis=-1)

    for t in chosen:
        cloudy = np.isin(scl[t], (8, 9, 10))
        cloudy &= near(~near(~cloudy, 1), 1)
        bad = near(cloudy & (scl[t] != 10), 8) | near(cloudy & (scl[t] == 10), 4) | near(scl[t] == 3, 4)
        bad |= near(scl[t] == 0, 1) | np.isin(scl[t], (1, 11))
        clear = ~bad & (b05[t] > 0)
        total += np.where(clear, b05[t] + 1000, 0)
        count += clear
    assert count.max() >= 2
    np.testing.assert_array_equal(found.n_clear_tyx[0], count)
    np.testing.assert_array_equal(found.data_tbyx[0, 0], (2 * total + count) // np.maximum(2 * count, 1))
