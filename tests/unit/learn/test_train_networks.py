"""Networks of every kind through the training loop and back: fixed dates, dates as channels, coarse beside fine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from synthetic_cubes import LEGEND, make_ground

from landcover_cli.config.labels import SplitConfig, TileConfig
from landcover_cli.config.learning import TrainConfig
from landcover_cli.core.plan import RunContext
from landcover_cli.errors import ConfigError
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
