"""Where an interrupted training goes on: weights, optimiser state and history after the last whole epoch."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from landcover_cli.core.digest import pretty_json
from landcover_cli.io.atomic import atomic_folder
from landcover_cli.learn.curves import EpochRow

__all__ = ["Progress", "read_checkpoint", "remove_checkpoint", "write_checkpoint"]


@dataclass
class Progress:
    """How far a training is.

    Attributes:
        rows: One per finished epoch.
        weights: The network's state after the last finished epoch.
        best: Its state after the best epoch.
        best_epoch: Counted from 1; 0 before the first.
        best_score: What the best epoch was chosen by; greater is better.
        optimiser: State of AdamW by parameter position and name.
        objective: State of the objective.
    """

    rows: list[EpochRow]
    weights: dict[str, Tensor]
    best: dict[str, Tensor]
    best_epoch: int
    best_score: tuple[float, float]
    optimiser: dict[int, dict[str, Tensor]]
    objective: dict[str, Any]


def write_checkpoint(folder: Path, progress: Progress, key: str) -> None:
    """Replace a checkpoint as a whole; `key` names what is being trained.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    tensors = {f"weights/{name}": tensor for name, tensor in progress.weights.items()}
    tensors |= {f"best/{name}": tensor for name, tensor in progress.best.items()}
    for position, state in progress.optimiser.items():
        tensors |= {f"optimiser/{position}/{name}": tensor for name, tensor in state.items()}
    facts = {
        "key": key,
        "rows": [dataclasses.asdict(row) for row in progress.rows],
        "best_epoch": progress.best_epoch,
        "best_score": list(progress.best_score),
        "objective": progress.objective,
    }
    # A folder of its own per epoch, the one before removed after: a kill at any moment leaves a whole one.
    target = folder / f"epoch-{len(progress.rows):05}"
    with atomic_folder(target, replace=True) as scratch:
        # Right after the best epoch both sets are the same tensors; the format wants memory of its own for each.
        blob = save(
            {
                name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
                for name, tensor in tensors.items()
            }
        )
        (scratch / "state.safetensors").write_bytes(blob)
        (scratch / "state.json").write_text(pretty_json(facts), encoding="utf-8")
    for path in folder.iterdir():
        if path != target:
            shutil.rmtree(path, ignore_errors=True)


def read_checkpoint(folder: Path, key: str) -> Progress | None:
    """The newest whole checkpoint of the same training; None where there is none, or one of another training."""
    found = (_read(path, key) for path in sorted(folder.glob("epoch-*"), reverse=True))
    return next((progress for progress in found if progress is not None), None)


def _read(folder: Path, key: str) -> Progress | None:
    try:
        facts = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if facts["key"] != key:
            return None
        tensors = load((folder / "state.safetensors").read_bytes())
        optimiser: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimiser/"):
                _, position, leaf = name.split("/", 2)
                optimiser.setdefault(int(position), {})[leaf] = tensor
        score = facts["best_score"]
        return Progress(
            rows=[EpochRow(**row) for row in facts["rows"]],
            weights=_below("weights/", tensors),
            best=_below("best/", tensors),
            best_epoch=facts["best_epoch"],
            best_score=(float(score[0]), float(score[1])),
            optimiser=optimiser,
            objective=facts["objective"],
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def remove_checkpoint(folder: Path) -> None:
    """Forget a checkpoint."""
    shutil.rmtree(folder, ignore_errors=True)


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[int, dict[str, Tensor]]:
    """State tensors by parameter position."""
    state = optimiser.state_dict()["state"]
    return {int(key): {name: torch.as_tensor(value) for name, value in item.items()} for key, item in state.items()}


def load_optimiser_state(optimiser: torch.optim.Optimizer, state: Mapping[int, Mapping[str, Tensor]]) -> None:
    """Take up what `optimiser_state` gave."""
    full = optimiser.state_dict()
    full["state"] = {key: dict(item) for key, item in state.items()}
    optimiser.load_state_dict(full)
