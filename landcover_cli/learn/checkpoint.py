"""Where an interrupted training goes on: weights, optimiser, random numbers and history, after any update."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
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
        weights: The network's state now.
        best: Its state (averaged, where ``train.ema`` is set) after the best epoch.
        best_epoch: Counted from 1; 0 before the first.
        best_score: What the best epoch was chosen by; greater is better.
        facts: JSON-able state of optimiser and scaler.
        tensors: Tensors of optimiser and average.
        objective: State of the objective.
        step: Batches of the epoch at hand that are done; 0 between epochs.
        total: Sum of the losses of these, weighted by patches.
        random: States of the random number generators by device, where `step` is not 0.
    """

    rows: list[EpochRow] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    best_score: tuple[float, float] = (float("-inf"), float("-inf"))
    facts: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    objective: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    total: float = 0.0
    random: dict[str, Tensor] = field(default_factory=dict)

    @property
    def started(self) -> bool:
        """Whether there is anything to go on from."""
        return bool(self.rows) or self.step > 0


def write_checkpoint(folder: Path, progress: Progress, key: str) -> None:
    """Replace a checkpoint as a whole; `key` names what is being trained.

    Raises:
        StorageError: The folder cannot be written, or the disk is full.
    """
    groups = {
        "weights": progress.weights,
        "best": progress.best,
        "state": progress.tensors,
        "random": progress.random,
    }
    tensors = {f"{group}/{name}": tensor for group, found in groups.items() for name, tensor in found.items()}
    facts = {
        "key": key,
        "rows": [dataclasses.asdict(row) for row in progress.rows],
        "best_epoch": progress.best_epoch,
        # An infinity is no JSON; before the first epoch there is no score.
        "best_score": list(progress.best_score) if progress.best_epoch else None,
        "facts": progress.facts,
        "objective": progress.objective,
        "step": progress.step,
        "total": progress.total,
    }
    # A folder of its own each time, the one before removed after: a kill at any moment leaves a whole one.
    target = folder / f"epoch-{len(progress.rows):05}-{progress.step:07}"
    with _unless_empty(folder), atomic_folder(target, replace=True) as scratch:
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


@contextmanager
def _unless_empty(folder: Path) -> Iterator[None]:
    """Leave no empty folder behind where the first checkpoint cannot be written."""
    try:
        yield
    except BaseException:
        with suppress(OSError):  # it holds an earlier one, or was never made
            folder.rmdir()
        raise


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
        progress = Progress(
            rows=[EpochRow(**row) for row in facts["rows"]],
            weights=_below("weights/", tensors),
            best=_below("best/", tensors),
            best_epoch=facts["best_epoch"],
            facts=facts["facts"],
            tensors=_below("state/", tensors),
            objective=facts["objective"],
            step=int(facts["step"]),
            total=float(facts["total"]),
            random=_below("random/", tensors),
        )
        if facts["best_score"] is not None:
            first, second = facts["best_score"]
            progress.best_score = (float(first), float(second))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None
    return progress


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def remove_checkpoint(folder: Path) -> None:
    """Forget a checkpoint."""
    shutil.rmtree(folder, ignore_errors=True)
