"""The training loop: one for every network and objective; the same bytes for the same settings on a CPU."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landcover_cli.config.learning import TrainConfig
from landcover_cli.core.digest import pretty_json, sha256_json
from landcover_cli.core.unit import RunContext
from landcover_cli.errors import InputError
from landcover_cli.learn.augment import Augmentation
from landcover_cli.learn.checkpoint import (
    Progress,
    load_optimiser_state,
    optimiser_state,
    read_checkpoint,
    write_checkpoint,
)
from landcover_cli.learn.curves import EpochRow, write_curves
from landcover_cli.learn.metrics import (
    Agreement,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)
from landcover_cli.learn.modelfolder import build_model, save_model
from landcover_cli.learn.objective import IGNORE, ObjectiveBase, Task, logits_on_grid
from landcover_cli.learn.predict_network import pick_device
from landcover_cli.learn.samples import PatchSamples
from landcover_cli.learn.setup import describe_model, patches_digest
from landcover_cli.registry import load
from models.spec import ModelSpec

__all__ = ["learning_rate_at", "train"]

log = logging.getLogger("lc")

LAST = "last.safetensors"
_CALIBRATION_PX = 100_000
_DIVISORS = (0.04, 0.001)
"""A one-cycle schedule starts at the first and ends at the second of these shares of the peak."""


def train(
    patches: Path,
    out: Path,
    config: TrainConfig,
    ctx: RunContext,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Train a network on the patches of a folder and write a model folder.

    Args:
        patches: Folder of `lc tile`.
        out: Folder that gets ``weights.safetensors`` (best epoch), ``model.json``, ``metrics.json``, ``curves.csv``,
            ``curves.png`` and ``last.safetensors`` (weights after the last epoch).
        config: Network, objective, schedule, seed, threads.
        ctx: Device, memory, progress, cancellation; decides no byte on a CPU.
        checkpoint: Folder that is kept up to date after each epoch. It is the caller's to remove it once `out` has its
            name: until then it is all there is.
        resume: Go on from the checkpoint, if it is of this very training; the result is that of an undisturbed run.

    Returns:
        The content of ``metrics.json``.

    Raises:
        InputError: No patches to train on; a loss that is no number (names epoch, step and patches).
        ConfigError: Unknown network, objective, option, input or device.
    """
    spec = describe_model(patches, config)
    digest = patches_digest(patches)
    samples = PatchSamples(patches, spec.ports, ctx.memory_bytes // 2)
    if not samples.split("train"):
        raise InputError(f"{patches} has no training patch", remedy="run `lc tile` with other ratios or blocks")
    key = sha256_json({"patches": digest, "train": config.model_dump(mode="json")})
    with _deterministic(config.threads, pick_device(ctx.device)) as device:
        run = _Run(spec, config, samples, device, ctx)
        progress = read_checkpoint(checkpoint, key) if checkpoint and resume else None
        if progress is not None:
            log.info("training goes on after epoch %d of %d", len(progress.rows), config.epochs)
        progress = run.fit(progress, checkpoint, key)
        metrics, temperature = run.assess(progress)
    spec = replace(spec, temperature=temperature)
    provenance = {"train": config.model_dump(mode="json"), "patches": digest, "best_epoch": progress.best_epoch}
    save_model(out, spec, progress.best, provenance=provenance)
    _save_last(out / LAST, progress.weights)
    write_curves(out, progress.rows, progress.best_epoch)
    (out / "metrics.json").write_text(pretty_json(metrics), encoding="utf-8")
    return metrics


def _save_last(path: Path, weights: dict[str, Tensor]) -> None:
    from safetensors.torch import save

    path.write_bytes(save({name: tensor.cpu().contiguous() for name, tensor in weights.items()}, {"format": "pt"}))


@contextmanager
def _deterministic(threads: int, device: str) -> Iterator[str]:
    """Fixed threads and repeatable operators inside; everything as it was outside, random numbers included."""
    before = torch.get_num_threads()
    strict, soft = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cuda = [device] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=cuda):
        try:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(not cuda)
            yield device
        finally:
            torch.use_deterministic_algorithms(strict, warn_only=soft)
            torch.set_num_threads(before)


def learning_rate_at(step: int, steps: int, config: TrainConfig) -> float:
    """Learning rate of one step of a training, counted from 0.

    Source of the one-cycle form: Smith & Topin, "Super-Convergence" (2018); a cosine in place of the second line.
    """
    if config.schedule == "constant":
        return config.learning_rate
    start, end = _DIVISORS
    rise = max(1, round(config.warmup * steps)) if config.warmup > 0 else 0
    if step < rise:
        return config.learning_rate * (start + (1 - start) * (step + 1) / rise)
    share = (step - rise) / max(1, steps - 1 - rise)
    return config.learning_rate * (end + (1 - end) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))


class _Run:
    """One training: network, optimiser, objective and samples."""

    def __init__(
        self, spec: ModelSpec, config: TrainConfig, samples: PatchSamples, device: str, ctx: RunContext
    ) -> None:
        torch.manual_seed(config.seed)
        self.spec, self.config, self.samples, self.device, self.ctx = spec, config, samples, device, ctx
        self.network = build_model(spec).to(device)
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=config.learning_rate,
        )
        self.training, self.validation = samples.split("train"), samples.split("validation")
        class_px = np.sum([samples.records[index].class_px for index in self.training], axis=0)
        self.objective: ObjectiveBase = load("objective", config.objective)()
        self.objective.setup(Task(config, tuple(int(px) for px in class_px), device))
        optional = tuple(port.name for port in spec.ports if port.optional)
        self.augmentation = (
            Augmentation(True, config.drop_dates, config.drop_inputs, optional) if config.augment else None
        )

    def fit(self, progress: Progress | None, checkpoint: Path | None, key: str) -> Progress:
        """Train from the beginning or from a checkpoint to the last epoch."""
        if progress is None:
            progress = Progress([], {}, {}, 0, (-math.inf, -math.inf), {}, {})
        else:
            self.network.load_state_dict(progress.weights)
            load_optimiser_state(self.optimiser, progress.optimiser)
            self.objective.load_state(progress.objective)
        for epoch in range(len(progress.rows) + 1, self.config.epochs + 1):
            row = self._epoch(epoch)
            self.objective.on_epoch_end(epoch, self.network)
            row, score = self._validate(row)
            progress.rows.append(row)
            progress.weights = self._copy()
            if score > progress.best_score:
                progress.best, progress.best_epoch, progress.best_score = progress.weights, epoch, score
            progress.optimiser = optimiser_state(self.optimiser)
            progress.objective = self.objective.state()
            if checkpoint is not None:
                write_checkpoint(checkpoint, progress, key)
        return progress

    def _copy(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone().cpu() for name, tensor in self.network.state_dict().items()}

    def _autocast(self) -> torch.autocast:
        on = self.config.precision == "bfloat16"
        return torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=on)

    def _epoch(self, epoch: int) -> EpochRow:
        config = self.config
        # Everything random in an epoch hangs on the seed and its number, so that a resumed run sees the same.
        torch.manual_seed(config.seed * 1_000_003 + epoch)
        order = np.random.default_rng([config.seed, epoch]).permutation(self.training).tolist()
        steps = math.ceil(len(order) / config.batch)
        self.network.train()
        total, rate = 0.0, 0.0
        batches = self.samples.batches(order, config.batch, self.augmentation, (config.seed, epoch))
        for number, batch in enumerate(batches):
            self.ctx.check()
            rate = learning_rate_at((epoch - 1) * steps + number, steps * config.epochs, config)
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            self.optimiser.zero_grad(set_to_none=True)
            with self._autocast():
                loss = self.objective.step(self.network, batch.to(self.device))
            value = loss.item()
            if not math.isfinite(value):
                raise _not_a_number(value, epoch, number + 1, batch.patches)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), config.clip))
            if not math.isfinite(norm):
                raise _not_a_number(norm, epoch, number + 1, batch.patches)
            self.optimiser.step()
            total += value * len(batch.patches)
            done = epoch - 1 + (number + 1) / steps
            self.ctx.progress(done, config.epochs, f"epoch {epoch} of {config.epochs}, loss {value:.3f}")
        return EpochRow(epoch, rate, total / len(order))

    def _validate(self, row: EpochRow) -> tuple[EpochRow, tuple[float, float]]:
        """Validation figures of the epoch, and the score that the best epoch is chosen by."""
        if not self.validation:
            return row, (float(row.epoch), 0.0)  # the last epoch is kept
        figures, logits, labels = self._predict(self.validation)
        if not len(labels):
            return row, (float(row.epoch), 0.0)
        loss = negative_log_likelihood(logits, labels)
        row = replace(
            row,
            validation_loss=loss,
            overall_accuracy=figures["overall_accuracy"],
            macro_f1=figures["macro_f1"],
            mean_iou=figures["mean_iou"],
        )
        text = f"epoch {row.epoch} of {self.config.epochs}, validation accuracy {figures['overall_accuracy']:.3f}"
        self.ctx.progress(row.epoch, self.config.epochs, text)
        score = -loss if self.config.select == "loss" else float(figures[self.config.select])
        return row, (score, -loss)

    def _predict(self, indices: tuple[int, ...]) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
        """Agreement over some patches, and logits ``[N, K]`` and labels ``[N]`` of at most 100,000 labelled pixels."""
        self.network.eval()
        agreement = Agreement(len(self.spec.classes))
        share = sum(sum(self.samples.records[index].class_px) for index in indices) / _CALIBRATION_PX
        every = max(1, math.ceil(share))
        logits_n, labels_n = [], []
        with torch.inference_mode():
            for batch in self.samples.batches(indices, self.config.batch):
                self.ctx.check()
                with self._autocast():
                    logits = self.network(batch.to(self.device).inputs)
                size = (batch.target.shape[-2], batch.target.shape[-1])
                mask = batch.target != IGNORE
                pixels = logits_on_grid(logits, size).cpu().movedim(1, -1)[mask].numpy()
                labels = batch.target[mask].numpy()
                agreement.feed(labels, pixels.argmax(axis=1))
                logits_n.append(pixels[::every])
                labels_n.append(labels[::every])
        return agreement.result(), np.concatenate(logits_n), np.concatenate(labels_n)

    def assess(self, progress: Progress) -> tuple[dict[str, Any], float]:
        """Figures of the best epoch on validation and test, and the temperature fitted on validation."""
        self.network.load_state_dict(progress.best)
        metrics: dict[str, Any] = {
            "epochs": len(progress.rows),
            "best_epoch": progress.best_epoch,
            "parameters": sum(p.numel() for p in self.network.parameters()),
            "train_patches": len(self.training),
        }
        temperature = 1.0
        for name in ("validation", "test"):
            indices = self.samples.split(name)
            if not indices:
                continue
            figures, logits, labels = self._predict(indices)
            if name == "validation":
                temperature = fit_temperature(logits, labels)
            if len(labels):
                for when, value in (("raw", 1.0), ("calibrated", temperature)):
                    figures[f"nll_{when}"] = round(negative_log_likelihood(logits, labels, value), 6)
                    figures[f"ece_{when}"] = round(expected_calibration_error(logits, labels, value), 6)
            metrics[name] = figures
        return {**metrics, "temperature": temperature}, temperature


def _not_a_number(value: float, epoch: int, step: int, patches: tuple[int, ...]) -> InputError:
    shown = ", ".join(str(patch) for patch in patches)
    return InputError(
        f"the loss or its gradient became {value} in epoch {epoch}, step {step} (patches {shown} of the index)",
        remedy="look at those patches for extreme values, or lower train.learning_rate",
    )
