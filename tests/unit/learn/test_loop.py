"""Training: learns, repeats itself byte for byte, resumes exactly, and stops at a loss that is no number."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synthetic_cubes import LEGEND, make_ground

from landcover_cli.config.labels import SplitConfig, TileConfig
from landcover_cli.config.learning import TrainConfig
from landcover_cli.core.unit import RunContext
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.learn import loop
from landcover_cli.learn.loop import train
from landcover_cli.learn.modelfolder import load_model, read_description
from landcover_cli.learn.patching import LabelledRegion, make_patches
from landcover_cli.learn.samples import PatchSamples
from landcover_cli.learn.schedule import learning_rate_at
from landcover_cli.learn.setup import describe_model

TINY = {"widths": [8, 16], "image_widths": [4, 8], "heads": 4, "key_width": 4}
CONFIG = TrainConfig(options=TINY, epochs=4, batch=4, threads=1)


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patches")
    ground = make_ground(folder / "ground")
    config = TileConfig(patch_px=16, split=SplitConfig(block_px=16))
    make_patches([LabelledRegion("main", (ground.labels,), ground.cubes)], LEGEND, config, folder, RunContext())
    return folder


def with_(**changes: Any) -> TrainConfig:
    return TrainConfig.model_validate(CONFIG.model_dump() | changes)


def tree(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def out(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


def test_learns_and_writes_a_model_folder(patches: Path, tmp_path: Path) -> None:
    texts: list[str] = []
    ctx = RunContext(progress=lambda done, total, text: texts.append(text))
    metrics = train(patches, out(tmp_path, "m"), with_(epochs=15, learning_rate=1e-2), ctx)
    assert metrics["validation"]["overall_accuracy"] > 0.9
    assert metrics["test"]["overall_accuracy"] > 0.85
    assert set(tree(tmp_path / "m")) == {
        "weights.safetensors", "last.safetensors", "model.json", "metrics.json", "curves.csv", "curves.png",
        "MODEL_CARD.md",
    }  # fmt: skip
    card = (tmp_path / "m" / "MODEL_CARD.md").read_text()
    assert "| s2 | series | B04, B08 | 10 | reflectance_dn | none |" in card
    assert "epochs: 15" in card
    assert "batch: 4" in card
    assert "objective:" not in card  # a default
    assert f"{metrics['test']['macro_f1']:.3f}" in card
    assert str(tmp_path) not in card
    spec, network = load_model(tmp_path / "m")
    assert [port.name for port in spec.ports] == ["dem", "s1", "s2"]
    assert spec.ports[1].transform == "db"
    assert spec.calendar == {"step": "month", "length": 6}
    assert spec.temperature == metrics["temperature"]
    assert metrics["parameters"] == sum(p.numel() for p in network.parameters())
    assert len((tmp_path / "m" / "curves.csv").read_text().splitlines()) == 16
    assert any("validation accuracy" in text for text in texts)
    assert "dropout" in read_description(tmp_path / "m")["spec"]["options"]  # defaults are written down too


def test_same_bytes_for_two_runs_and_any_memory_and_settings_come_back(patches: Path, tmp_path: Path) -> None:
    torch.manual_seed(7)
    wanted = torch.rand(1)
    torch.manual_seed(7)
    before = torch.get_num_threads()
    train(patches, out(tmp_path, "a"), with_(threads=2, epochs=2), RunContext())
    assert torch.get_num_threads() == before
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.rand(1) == wanted
    train(patches, out(tmp_path, "b"), with_(threads=2, epochs=2), RunContext(memory_bytes=0, threads=3))
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    train(patches, out(tmp_path, "c"), with_(threads=2, epochs=2, seed=1), RunContext())
    assert tree(tmp_path / "a")["weights.safetensors"] != tree(tmp_path / "c")["weights.safetensors"]


@pytest.fixture(scope="module")
def whole(patches: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of an undisturbed training."""
    folder = tmp_path_factory.mktemp("whole")
    train(patches, folder, CONFIG, RunContext())
    return tree(folder)


class Stop:
    """Asks to stop after some checks."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def read_state(checkpoint: Path) -> dict[str, Any]:
    (folder,) = checkpoint.iterdir()  # one at a time
    found: dict[str, Any] = json.loads((folder / "state.json").read_text())
    return found


@pytest.mark.parametrize("after", [3, 14])
def test_resumed_training_gives_the_same_bytes(
    patches: Path, tmp_path: Path, whole: dict[str, str], after: int
) -> None:
    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        train(patches, out(tmp_path, "x"), CONFIG, RunContext(cancelled=Stop(after)), checkpoint=checkpoint)
    done = len(read_state(checkpoint)["rows"]) if checkpoint.exists() else 0
    assert done == (0 if after == 3 else 2)
    epochs: list[str] = []
    ctx = RunContext(progress=lambda done, total, text: epochs.append(text.split(",")[0]))
    train(patches, out(tmp_path, "resumed"), CONFIG, ctx, checkpoint=checkpoint, resume=True)
    assert epochs[0] == f"epoch {done + 1} of 4"
    assert len(read_state(checkpoint)["rows"]) == 4  # stays until the folder has its name
    assert tree(tmp_path / "resumed") == whole


def test_checkpoint_of_another_training_is_not_taken(patches: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        train(patches, out(tmp_path, "x"), CONFIG, RunContext(cancelled=Stop(14)), checkpoint=checkpoint)
    other = with_(learning_rate=1e-3)
    train(patches, out(tmp_path, "a"), other, RunContext(), checkpoint=checkpoint, resume=True)
    train(patches, out(tmp_path, "b"), other, RunContext())
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_a_damaged_checkpoint_gives_way_to_the_one_before(patches: Path, tmp_path: Path, whole: dict[str, str]) -> None:
    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        train(patches, out(tmp_path, "x"), CONFIG, RunContext(cancelled=Stop(14)), checkpoint=checkpoint)
    (good,) = checkpoint.iterdir()
    bad = shutil.copytree(good, checkpoint / "epoch-00003-0000000")
    for name in ("state.safetensors", "state.json"):
        path = bad / name
        path.write_bytes(path.read_bytes()[:50])
    train(patches, out(tmp_path, "a"), CONFIG, RunContext(), checkpoint=checkpoint, resume=True)
    assert tree(tmp_path / "a") == whole


def test_a_loss_that_is_no_number_names_the_patches(
    patches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from landcover_cli.learn.objectives import cross_entropy

    checkpoint = tmp_path / "checkpoint"
    calls = []

    def step(self: Any, network: Any, batch: Any) -> torch.Tensor:
        calls.append(batch.patches)
        loss = network(batch.inputs).mean()
        return loss * torch.nan if len(calls) == 6 else loss

    monkeypatch.setattr(cross_entropy.Objective, "step", step)
    with pytest.raises(InputError, match="epoch 2, step 2") as error:
        train(patches, out(tmp_path, "x"), CONFIG, RunContext(), checkpoint=checkpoint)
    assert ", ".join(map(str, calls[-1])) in error.value.problem
    assert len(read_state(checkpoint)["rows"]) == 1  # the last good epoch is kept


# Everything that has a state of its own at once; dropout and augmentation are on by default.
RICH = {
    "options": TINY | {"dropout": 0.2}, "ema": 0.9, "accumulate": 2, "objective": "focal", "optimiser": "sgd",
    "precision": "float16", "schedule": "cosine", "clip": None, "epochs": 2, "learning_rate": 0.1, "inputs": ("dem",),
}  # fmt: skip


@pytest.mark.parametrize("after", [3, 8])
def test_stopped_at_any_step_and_resumed_gives_the_same_bytes(
    patches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    config, checkpoint = with_(**RICH), tmp_path / "checkpoint"
    train(patches, out(tmp_path, "whole"), config, RunContext())
    monkeypatch.setattr(loop, "KEEP_EVERY_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train(patches, out(tmp_path, "x"), config, RunContext(cancelled=Stop(after)), checkpoint=checkpoint)
    assert read_state(checkpoint)["step"] > 0
    train(patches, out(tmp_path, "y"), config, RunContext(), checkpoint=checkpoint, resume=True)
    assert tree(tmp_path / "whole") == tree(tmp_path / "y")


def test_accumulated_steps_are_one_larger_batch(patches: Path, tmp_path: Path) -> None:
    # Every pixel of these patches counts alike, so the mean of two means is the mean.
    same = {"epochs": 1, "augment": False, "options": TINY | {"dropout": 0.0}, "inputs": ("dem",), "clip": None}
    found = []
    for name, changes in (("one", {"batch": 4}), ("two", {"batch": 2, "accumulate": 2})):
        train(patches, out(tmp_path, name), with_(**same, **changes, optimiser="sgd", learning_rate=0.5), RunContext())
        found.append(load_model(tmp_path / name)[1].state_dict())
    for key, value in found[0].items():
        torch.testing.assert_close(value, found[1][key], rtol=2e-2, atol=2e-4)
    assert learning_rate_at(0, 10, with_(schedule="poly", warmup=0.0)) == CONFIG.learning_rate


def test_the_average_lags_behind_the_weights(patches: Path, tmp_path: Path) -> None:
    plain = with_(epochs=2, select="loss")
    train(patches, out(tmp_path, "plain"), plain, RunContext())
    train(patches, out(tmp_path, "average"), with_(epochs=2, select="loss", ema=0.99), RunContext())
    rows = [(tmp_path / name / "curves.csv").read_text().splitlines() for name in ("plain", "average")]
    # The training is the same; only what is validated and kept differs.
    assert [row.split(",")[:3] for row in rows[0]] == [row.split(",")[:3] for row in rows[1]]
    assert rows[0] != rows[1]
    assert tree(tmp_path / "plain")["last.safetensors"] != tree(tmp_path / "average")["last.safetensors"]


def test_a_sheet_of_predictions_changes_nothing_else(patches: Path, tmp_path: Path) -> None:
    plain = with_(epochs=1, inputs=("dem",))
    train(patches, out(tmp_path, "a"), plain, RunContext())
    train(patches, out(tmp_path, "b"), plain.model_copy(update={"samples": 5}), RunContext())
    first, second = tree(tmp_path / "a"), tree(tmp_path / "b")
    assert (tmp_path / "b" / "samples.png").read_bytes().startswith(b"\x89PNG")
    assert second.keys() - first.keys() == {"samples.png"}
    assert {name for name in first if first[name] != second[name]} == {"model.json", "MODEL_CARD.md"}


def test_training_ends_where_nothing_gets_better(patches: Path, tmp_path: Path) -> None:
    config = with_(epochs=50, learning_rate=1e-9, schedule="constant", patience=2, inputs=("dem",), augment=False)
    metrics = train(patches, out(tmp_path, "m"), config, RunContext())
    assert metrics["epochs"] == metrics["best_epoch"] + 2 < 50


def test_out_of_memory_says_what_to_lower(patches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from landcover_cli.learn.objectives import cross_entropy

    def step(self: Any, network: Any, batch: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(cross_entropy.Objective, "step", step)
    with pytest.raises(InputError, match="out of memory with batches of 4") as error:
        train(patches, out(tmp_path, "x"), CONFIG, RunContext())
    assert "train.accumulate" in error.value.remedy


@pytest.mark.parametrize("inputs", [("s1",), ("s2", "dem")])
def test_chosen_inputs(patches: Path, tmp_path: Path, inputs: tuple[str, ...]) -> None:
    train(patches, out(tmp_path, "m"), with_(inputs=inputs, epochs=1), RunContext())
    assert {port.name for port in load_model(tmp_path / "m")[0].ports} == set(inputs)


@pytest.mark.parametrize(
    "changes", [{"precision": "bfloat16"}, {"class_weights": "sqrt"}, {"class_weights": "inverse"}, {"select": "loss"},
                {"schedule": "constant"}, {"augment": False}, {"objective": "iou"},
                {"rotate": 1.0, "warp": 1.0, "noise": 0.1, "stretch": 0.5, "jitter_days": 10},
                {"optimiser": "adam", "schedule": "poly"},
                {"objective": "dice", "objective_options": {"cross_entropy": 1.0}},
                {"model": "utae", "inputs": ("s2",), "options": {}}],
)  # fmt: skip
def test_settings_run(patches: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    if changes.get("model") == "utae":
        from models.utae import Model

        changes = changes | {"options": Model.TINY}
    metrics = train(patches, out(tmp_path, "m"), with_(**changes, epochs=1), RunContext())
    assert metrics["validation"]["pixels"] > 0


def test_bad_settings_are_named(patches: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no source 's3'"):
        train(patches, tmp_path, with_(inputs=("s3",)), RunContext())
    with pytest.raises(ConfigError, match="unknown model 'fusion_utea'"):
        train(patches, tmp_path, with_(model="fusion_utea"), RunContext())
    with pytest.raises(ConfigError, match="'focal' has no option 'gama'"):
        train(patches, tmp_path, with_(objective="focal", objective_options={"gama": 1}), RunContext())
    with pytest.raises(ConfigError, match="'2' is no number"):
        train(patches, tmp_path, with_(objective="focal", objective_options={"gamma": "2"}), RunContext())
    with pytest.raises(ConfigError, match="1 is no yes or no"):
        train(patches, tmp_path, with_(objective="dice", objective_options={"skip_absent": 1}), RunContext())
    with pytest.raises(ConfigError, match="no option 'width'"):
        train(patches, tmp_path, with_(options={"width": 3}), RunContext())
    with pytest.raises(ConfigError, match="does not divide every width"):
        train(patches, tmp_path, with_(options={"heads": 5}), RunContext())
    with pytest.raises(ConfigError, match="exactly one series"):
        train(patches, tmp_path, with_(model="utae", options={}), RunContext())
    with pytest.raises(InputError, match=r"patches\.json"):
        train(tmp_path, tmp_path, CONFIG, RunContext())


def test_without_validation_the_last_epoch_is_kept(tmp_path: Path) -> None:
    ground = make_ground(tmp_path / "ground")
    config = TileConfig(patch_px=16, split=SplitConfig(ratios=(1, 0, 0), block_px=16))
    folder = out(tmp_path, "patches")
    make_patches([LabelledRegion("main", (ground.labels,), ground.cubes)], LEGEND, config, folder, RunContext())
    metrics = train(folder, out(tmp_path, "m"), with_(epochs=2), RunContext())
    assert metrics["best_epoch"] == 2
    assert metrics["temperature"] == 1.0
    assert "validation" not in metrics


def test_one_cycle() -> None:
    rates = [learning_rate_at(step, 100, CONFIG) for step in range(100)]
    peak = rates.index(max(rates))
    assert max(rates) == pytest.approx(CONFIG.learning_rate)
    assert peak in (14, 15)
    assert np.all(np.diff(rates[:15]) > 0)
    assert np.all(np.diff(rates[15:]) < 0)
    assert rates[-1] == pytest.approx(CONFIG.learning_rate / 1000)
    assert learning_rate_at(7, 100, with_(schedule="constant")) == CONFIG.learning_rate


def test_batches_hold_the_samples_in_order(patches: Path) -> None:
    samples = PatchSamples(patches, describe_model(patches, CONFIG).ports, 10**9)
    order = [5, 2, 9, 0, 7]
    found = list(samples.batches(order, 2))
    assert [batch.patches for batch in found] == [(5, 2), (9, 0), (7,)]
    for batch in found:
        for position, index in enumerate(batch.patches):
            inputs, target, _ = samples.load(index)
            np.testing.assert_array_equal(batch.target[position], target)
            np.testing.assert_array_equal(batch.inputs["s2"].data[position], inputs["s2"].data_tchw)
