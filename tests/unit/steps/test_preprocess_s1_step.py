"""Planning and running of Sentinel-1 passes and their composites."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
import yaml
from s1product import (
    ASCENDING,
    ASCENDING_DAY,
    DESCENDING,
    DESCENDING_DAY,
    POWER,
    write_aoi,
    write_dem,
    write_product,
)

from landcover_cli.config.pipeline import load_pipeline
from landcover_cli.core.unit import Inputs, RunContext
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.io.cubestore import CubeSeries
from landcover_cli.io.safe_s1 import open_s1_product

SOURCE = {"type": "sentinel1_grd", "scenes": ["s1/*.SAFE"], "dem": "dem.tif", "dem_height": "ellipsoidal"}
PYROSAR = "s1/pyrosar_grd_meta/S1A_IW_GRDH_1SDV_"


@pytest.fixture(autouse=True)
def _two_steps(monkeypatch):
    monkeypatch.setattr("landcover_cli.plan.ORDER", ("preprocess_s1", "composite"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two ascending passes and a descending one over one small area."""
    folder = tmp_path_factory.mktemp("s1")
    write_product(folder / "s1", ASCENDING, ASCENDING_DAY)
    write_product(folder / "s1", ASCENDING, date(2021, 1, 28), seed=2)
    write_product(folder / "s1", DESCENDING, DESCENDING_DAY)
    write_dem(folder / "dem.tif")
    write_aoi(folder / "aoi.geojson", inset_m=330.0)
    return folder


def make(place: Path, months=("2021-01", "2021-02"), grid=None, **changes):
    from landcover_cli.plan import make_plan

    document = {
        "aoi": "aoi.geojson",
        "grid": {"crs": "EPSG:32633", "resolution_m": 10, "tile_px": 32, **(grid or {})},
        "period": {"start": months[0], "end": months[1], "step": "month"},
        "sources": {"s1": {**SOURCE, **changes}},
        "tile": {"patch_px": 8},
    }
    path = place / "pipeline.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return make_plan(load_pipeline(path), place)


def carry_out(plan, folder: Path, threads: int = 1) -> CubeSeries:
    from landcover_cli.plan import load_step

    done = {}
    for ref, planned in plan.units.items():
        out = folder / ref.step / ref.id
        out.mkdir(parents=True)
        needs = {name: done[need] for name, need in planned.unit.needs.items()}
        context = RunContext(threads=threads)
        load_step(ref.step).run(planned.unit, Inputs(dict(planned.unit.files), needs), out, context)
        done[ref] = out
    return CubeSeries.open(path / "cube.zarr" for ref, path in done.items() if ref.step == "composite")


def test_a_month_of_passes_is_averaged_on_the_product_grid(place, tmp_path):
    plan = make(place, orbit="ascending", layers=["layover_shadow"])
    scenes = plan.of_step("preprocess_s1")
    assert len(scenes) == 2
    assert set(scenes[0].unit.files) == {"product/0", "dem"}
    cube = carry_out(plan, tmp_path)
    assert (cube.bands, cube.units, cube.dtype) == (("VV", "VH"), "gamma0_linear", "float32")
    assert cube.bounds_m[0] % 320 == cube.bounds_m[1] % 320 == 0
    window = cube.read(cube.bounds_m)
    january, february = window.n_clear_tyx
    assert january.max() == 2 and february.max() == 0
    for band, power in enumerate(POWER.values()):
        values = window.data_tbyx[0, band][january == 2]
        assert 10 * np.log10(values.mean() / power) == pytest.approx(0, abs=0.15)


def test_threads_change_no_byte(place, tmp_path):
    plan = make(place, orbit="descending")
    for threads in (1, 3):
        carry_out(plan, tmp_path / str(threads), threads)
    one, three = (sorted(p for p in (tmp_path / n).rglob("*") if p.is_file()) for n in ("1", "3"))
    assert len(one) == len(three) > 3
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(one, three, strict=True))


def test_directions_never_mix_unasked(place):
    with pytest.raises(InputError, match=r"both directions: ascending \(S1A_\S+\) and descending") as caught:
        make(place)
    assert "orbit: both" in caught.value.remedy
    assert len(make(place, orbit="both").of_step("preprocess_s1")) == 3
    assert len(make(place, orbit="descending").of_step("preprocess_s1")) == 1


def test_what_changes_the_key(place):
    def keys(**changes):
        return {ref: planned.key for ref, planned in make(place, orbit="ascending", **changes).units.items()}

    base = keys()
    assert keys() == base
    for change in (
        {"speckle": "lee"},
        {"speckle_options": {"looks": 5}},
        {"denoise": "off"},
        {"backscatter": "sigma0"},
        {"dem": "flat:500"},
        {"polarisations": ["VV"]},
    ):
        changed = keys(**change)
        assert all(changed[ref] != key for ref, key in base.items() if ref.step == "preprocess_s1")
    # Which passes are looked for changes no observation.
    both = {ref: planned.key for ref, planned in make(place, orbit="both").units.items()}
    assert all(both[ref] == key for ref, key in base.items() if ref.step == "preprocess_s1")


def test_backscatter_of_another_kind_is_another_unit(place, tmp_path):
    cube = carry_out(make(place, orbit="descending", backscatter="sigma0", dem="flat:500"), tmp_path)
    assert cube.units == "sigma0_linear"


def test_what_does_not_fit_is_refused_before_anything_runs(place, shared_data):
    with pytest.raises(InputError, match=r"has no polarisation HH \(it holds VV, VH\)"):
        make(place, orbit="ascending", polarisations=["HH"])
    with pytest.raises(InputError, match=r"source 's1' has no observation over .*aoi\.geojson from 2022-01-01"):
        make(place, months=("2022-01", "2022-01"))
    with pytest.raises(InputError, match="does not say what its heights are counted from"):
        make(place, orbit="ascending", dem_height="auto")
    with pytest.raises(InputError, match="covers S1A from 2021"):
        make(place, orbit="ascending", orbits=str(shared_data("s1/sarprocessing_slc")))
    with pytest.raises(ConfigError, match="needs a stack of dates"):
        make(place, orbit="ascending", speckle="multitemporal")
    with pytest.raises(ConfigError, match="a polarisation is given twice"):
        make(place, polarisations=["VV", "VV"])
    assert not make(place, months=("2022-01", "2022-01"), optional=True).units


def test_a_scene_that_only_seems_to_reach_the_area_has_no_pixel(place, tmp_path):
    from landcover_cli.io.preprocess_s1 import preprocess_s1
    from landcover_cli.io.s1_prepare import S1Settings, prepare_s1

    product = open_s1_product(next((place / "s1").glob("*.SAFE")))
    settings = S1Settings(
        dem="flat:0",
        crs="EPSG:32633",
        gsd_m=10.0,
        area_m=(500_000.0, 5_000_000.0, 500_320.0, 5_000_320.0),
        may_miss=True,
    )
    prepared = prepare_s1([product], settings)
    assert prepared.plan is None and prepared.reads_px == (0, 0)
    preprocess_s1(prepared, tmp_path)
    from landcover_cli.io.observation import open_observation

    with open_observation(tmp_path) as reader:
        assert not reader.mask(reader.about.lattice).any()
        assert np.isnan(reader.data(reader.about.lattice)).all()


def test_consecutive_slices_are_one_observation(shared_data):
    from landcover_cli.steps.preprocess_s1 import _slices

    names = (
        "20150222T170750_20150222T170815_004739_005DD8_3768.zip",
        "20150222T170725_20150222T170750_004739_005DD8_CEAB.zip",
        "20150203T043109_20150203T043134_004454_00574F_6D00.zip",
        "20150203T043109_20150203T043134_004454_00574F_FEC3.zip",
    )
    products = [(open_s1_product(shared_data(PYROSAR + name)), None) for name in names]
    groups = [[product.meta.product_id[-4:] for product, _ in group] for group in _slices(products)]
    # The same take, processed twice, is no pair of slices.
    assert sorted(map(sorted, groups)) == [["3768", "CEAB"], ["6D00"], ["FEC3"]]
    assert ["CEAB", "3768"] in groups
