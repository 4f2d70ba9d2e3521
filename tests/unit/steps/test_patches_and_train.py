"""The steps `patches` and `train`: what they need, and that they make a model folder out of the units before them."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from synthetic_cubes import CRS, LEGEND, make_ground

from landcover_cli import pipeline
from landcover_cli.config.labels import SplitConfig, TileConfig
from landcover_cli.config.learning import TrainConfig
from landcover_cli.core.grid import ProductGrid
from landcover_cli.core.unit import Inputs, RunContext, Unit, UnitRef, plan_unit
from landcover_cli.io.legendfile import write_legend
from landcover_cli.io.resultstore import ResultStore
from landcover_cli.steps import patches, train

TINY = {"widths": [8, 16], "image_widths": [4, 8], "heads": 4, "key_width": 4}


def context(**units: Any) -> Any:
    config = SimpleNamespace(
        tile=TileConfig(patch_px=16, split=SplitConfig(block_px=16)),
        train=TrainConfig(options=TINY, epochs=1, threads=1),
        sources={name: SimpleNamespace(optional=name == "s1") for name in ("s1", "s2", "dem")},
    )
    regions = (SimpleNamespace(name="a", labelled=True), SimpleNamespace(name="b", labelled=False))
    return SimpleNamespace(config=config, regions=regions, grid=ProductGrid(CRS, 10.0, 96), units=units)


def units(step: str, *ids: str) -> tuple[Unit, ...]:
    return tuple(Unit(step, name) for name in ids)


def test_needs_the_labels_and_cubes_of_labelled_regions_alone() -> None:
    ctx = context(
        labels=units("labels", "a/x0_y0"),
        composite=units("composite", "a/s2/x0_y0/2021-03", "a/dem/x0_y0/static", "b/s2/x9_y9/2021-03"),
    )
    (unit,) = patches.plan(ctx)
    assert unit.id == "all"
    assert dict(unit.needs) == {
        "labels/a/x0_y0": UnitRef("labels", "a/x0_y0"),
        "cube/a/s2/x0_y0/2021-03": UnitRef("composite", "a/s2/x0_y0/2021-03"),
        "cube/a/dem/x0_y0/static": UnitRef("composite", "a/dem/x0_y0/static"),
    }
    assert unit.params["tile"]["patch_px"] == 16
    assert unit.params["sources"]["s1"] == {"optional": True}
    ctx.units["patches"] = (unit,)
    (model,) = train.plan(ctx)
    assert dict(model.needs) == {"patches": UnitRef("patches", "all")}
    assert model.params["train"]["epochs"] == 1


def test_without_labels_nothing_is_trained() -> None:
    ctx = context(composite=units("composite", "a/s2/x0_y0/2021-03"))
    assert patches.plan(ctx) == []
    assert train.plan(ctx) == []


@pytest.fixture
def finished(tmp_path: Path) -> dict[str, Path]:
    """Units as the steps before leave them."""
    ground = make_ground(tmp_path / "ground")
    found = {"labels/a/x5_y10": tmp_path / "labels"}
    found["labels/a/x5_y10"].mkdir()
    shutil.copy(ground.labels, tmp_path / "labels" / "labels.tif")
    write_legend(tmp_path / "labels" / "legend.json", LEGEND)
    for source, (path,) in ground.cubes.items():
        folder = tmp_path / f"unit_{source}"
        folder.mkdir()
        shutil.move(path, folder / "cube.zarr")
        found[f"cube/a/{source}/x5_y10/all"] = folder
    return found


def test_from_units_to_a_model_folder(finished: dict[str, Path], tmp_path: Path) -> None:
    ctx = context(labels=units("labels", "a/x5_y10"))
    (cut,) = patches.plan(ctx)
    out = tmp_path / "patches"
    out.mkdir()
    patches.STEP.run(cut, Inputs({}, finished), out, RunContext())
    assert sorted(path.name for path in out.iterdir()) == [
        "balance.csv", "classes.json", "index.parquet", "patches.json", "patches.zarr", "splits.json",
        "statistics.json",
    ]  # fmt: skip
    ctx.units["patches"] = (cut,)
    (unit,) = train.plan(ctx)
    model = tmp_path / "model"
    model.mkdir()
    train.STEP.run(unit, Inputs({}, {"patches": out}), model, RunContext())
    assert sorted(path.name for path in model.iterdir()) == [
        "MODEL_CARD.md", "curves.csv", "curves.png", "last.safetensors", "metrics.json", "model.json",
        "weights.safetensors",
    ]  # fmt: skip
    assert train.STEP.publish(unit) == "model"
    assert not train.STEP.parallel


class Killed(BaseException):
    """Ends a training as a signal does that no code of ours answers to."""


def test_a_killed_run_goes_on_with_its_training(finished: dict[str, Path], tmp_path: Path) -> None:
    ctx = context(labels=units("labels", "a/x5_y10"))
    ctx.config.train = TrainConfig(options=TINY, epochs=3, threads=1)
    (cut,) = patches.plan(ctx)
    folder = tmp_path / "patches"
    folder.mkdir()
    patches.STEP.run(cut, Inputs({}, finished), folder, RunContext())
    ctx.units["patches"] = (cut,)
    planned = plan_unit(train.plan(ctx)[0], 1, {}, {"patches": "0" * 64})
    seen: list[str] = []

    def progress(done: float, total: float, text: str) -> None:
        seen.append(text)
        if kill and "epoch 2" in text:
            raise Killed

    def task(workspace: str) -> pipeline.Task:
        return pipeline.Task(
            planned, str(tmp_path / workspace), Inputs({}, {"patches": folder}), RunContext(progress=progress)
        )

    kill = True
    with pytest.raises(Killed):
        pipeline.run_task(task("cut"))
    store = ResultStore(tmp_path / "cut")
    assert not store.is_done(planned)
    assert store.checkpoint(planned).is_dir()
    assert store.prune_checkpoints({store.checkpoint(planned)}) == 0
    kill = False
    seen.clear()
    pipeline.run_task(task("cut"))
    assert seen[0].startswith("epoch 2 of 3")
    assert not store.checkpoint(planned).exists()
    pipeline.run_task(task("whole"))
    whole = ResultStore(tmp_path / "whole")
    assert store.manifest(planned) == whole.manifest(planned)  # sha256 of every file

    kill = True
    with pytest.raises(Killed):
        pipeline.run_task(task("third"))
    third = ResultStore(tmp_path / "third")
    assert third.prune_checkpoints(set()) > 0
    assert not list((tmp_path / "third" / "checkpoints").iterdir())
