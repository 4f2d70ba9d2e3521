"""Networks of every kind through the training loop and back: fixed dates, dates as channels, coarse beside fine."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synthetic_cubes import CRS, LEGEND, make_ground

from landcover_cli.config.labels import SplitConfig, TileConfig
from landcover_cli.config.learning import TrainConfig
from landcover_cli.core.plan import RunContext
from landcover_cli.core.types import split_periods
from landcover_cli.errors import ConfigError
from landcover_cli.io.cubestore import CubeSpec, make_cube, write_cube
from landcover_cli.learn.loop import train
from landcover_cli.learn.modelfolder import load_model
from landcover_cli.learn.patching import LabelledRegion, make_patches
from landcover_cli.registry import load


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patches")
    ground = make_ground(folder / "ground")
    config = TileConfig(patch_px=16, split=SplitConfig(block_px=16))
    make_patches([LabelledRegion("main", (ground.labels,), ground.cubes)], LEGEND, config, folder, RunContext())
    return folder


def config(model: str, inputs: tuple[str, ...], **options: Any) -> TrainConfig:
    merged = load("model", model).TINY | options
    return TrainConfig(model=model, inputs=inputs, options=merged, epochs=1, batch=8, threads=1, drop_dates=0.5)


@pytest.mark.parametrize(
    ("model", "inputs", "options"),
    [
        ("fcn3d", ("s2",), {}),
        ("stsnet_temporal", ("s2",), {"head": "mean"}),
        ("deeplabv3plus", ("s2", "s1", "dem"), {}),
        ("multibranch", ("s2", "s1", "dem"), {}),
        ("reconstruct", ("s2",), {}),
    ],
)
def test_trains_and_comes_back(
    patches: Path, tmp_path: Path, model: str, inputs: tuple[str, ...], options: dict[str, Any]
) -> None:
    metrics = train(patches, tmp_path, config(model, inputs, **options), RunContext())
    assert metrics["validation"]["pixels"] > 0
    spec, network = load_model(tmp_path)
    fixed = getattr(load("model", model), "FIXED_T", False)
    assert all((port.length is not None) == (fixed and port.kind == "series") for port in spec.ports)
    assert sum(p.numel() for p in network.parameters()) > 0
    assert all(torch.isfinite(p).all() for p in network.parameters())


def test_a_network_that_gives_a_series_is_refused(patches: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gives a series, not a map"):
        train(patches, tmp_path, config("sar_to_optical", ("s1",)), RunContext())


def test_stsnet_learns_from_a_fine_image_and_a_series_twice_as_coarse(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ground = make_ground(tmp_path / "ground")
    box, periods = ground.box, split_periods(date(2021, 3, 1), date(2021, 7, 1), "month")
    spectra = rng.normal(size=(3, 6))[ground.classes_yx].transpose(2, 0, 1)[None]
    fine = (spectra + 0.1 * rng.standard_normal(spectra.shape)).astype("float32")
    coarse = rng.normal(size=(4, 2, box.height // 2, box.width // 2)).astype("float32")
    cubes = {}
    for name, kind, bands, gsd_m, data, dates in (
        ("spectra", "image", tuple("abcdef"), 10.0, fine, ()),
        ("series", "series", ("k", "l"), 20.0, coarse, periods),
    ):
        spec = CubeSpec(name, "", kind, bands, "1", 1.0, 0.0, gsd_m, CRS, box.bounds_m(10.0), dates, "float32")
        valid = np.ones((len(data), *data.shape[2:]), bool)
        count = valid.astype("uint16")
        write_cube(tmp_path / f"{name}.zarr", make_cube(spec, data, valid, count, count))
        cubes[name] = (tmp_path / f"{name}.zarr",)
    tile = TileConfig(patch_px=16, split=SplitConfig(block_px=16))
    (tmp_path / "patches").mkdir()
    make_patches([LabelledRegion("main", (ground.labels,), cubes)], LEGEND, tile, tmp_path / "patches", RunContext())
    settings = config("stsnet", ("spectra", "series")).model_copy(update={"epochs": 25, "learning_rate": 1e-2})
    (tmp_path / "model").mkdir()
    metrics = train(tmp_path / "patches", tmp_path / "model", settings, RunContext())
    assert metrics["validation"]["overall_accuracy"] > 0.8  # the spectra tell the classes apart; chance is 0.38
    _, network = load_model(tmp_path / "model")
    assert network.fusion.alpha == pytest.approx(1 / 4)
