"""The training loop: one for every network and objective; the same bytes for the same settings on a CPU."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landcover_cli.config.learning import TrainConfig
from landcover_cli.core.digest import pretty_json, sha256_json
from landcover_cli.core.unit import RunContext
from landcover_cli.errors import InputError
from landcover_cli.learn.augment import Augmentation
from landcover_cli.learn.checkpoint import Progress, read_checkpoint, write_checkpoint
from landcover_cli.learn.curves import EpochRow, write_curves
from landcover_cli.learn.metrics import (
    Agreement,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)
from landcover_cli.learn.modelcard import CARD, model_card
from landcover_cli.learn.modelfolder import build_model, save_model
from landcover_cli.learn.objective import IGNORE, logits_on_grid, make_objective
from landcover_cli.learn.predict_network import pick_device
from landcover_cli.learn.samples import PatchSamples
from landcover_cli.learn.schedule import learning_rate_at
from landcover_cli.learn.setup import describe_model, patches_digest, split_facts
from landcover_cli.learn.update import Updater, snapshot
from models.spec import ModelSpec

__all__ = ["train"]

log = logging.getLogger("lc")

LAST, SAMPLES = "last.safetensors", "samples.png"
_CALIBRATION_PX = 100_000
KEEP_EVERY_S = 600.0
"""Seconds between checkpoints within an epoch; decides no byte of the result."""


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
            ``curves.png``, ``last.safetensors`` (weights after the last epoch), ``MODEL_CARD.md`` and, where asked
            for, ``samples.png``.
        config: Network, objective, schedule, seed, threads.
        ctx: Device, memory, progress, cancellation; decides no byte on a CPU.
        checkpoint: Folder that is kept up to date after each epoch, and every ten minutes within one. It is the
            caller's to remove it once `out` has its name: until then it is all there is.
        resume: Go on from the checkpoint, if it is of this very training; the result is that of an undisturbed run.

    Returns:
        The content of ``metrics.json``.

    Raises:
        InputError: No patches to train on; a loss that is no number (names epoch, step and patches); out of memory.
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
            where = f", step {progress.step} of the next" if progress.step else ""
            log.info("training goes on after epoch %d of %d%s", len(progress.rows), config.epochs, where)
        with _enough_memory(config):
            progress = run.fit(progress, checkpoint, key)
            metrics, temperature = run.assess(progress)
            if config.samples:
                run.draw(patches, out / SAMPLES)
    spec = replace(spec, temperature=temperature)
    provenance = {"train": config.model_dump(mode="json"), "patches": digest, "best_epoch": progress.best_epoch}
    save_model(out, spec, progress.best, provenance=provenance)
    _save_last(out / LAST, progress.weights)
    write_curves(out, progress.rows, progress.best_epoch)
    (out / "metrics.json").write_text(pretty_json(metrics), encoding="utf-8")
    (out / CARD).write_text(model_card(spec, metrics, config, split_facts(patches)), encoding="utf-8")
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


def _augmentation(spec: ModelSpec, config: TrainConfig) -> Augmentation | None:
    if not config.augment:
        return None
    return Augmentation(
        turns=True,
        drop_dates=config.drop_dates,
        drop_inputs=config.drop_inputs,
        optional=tuple(port.name for port in spec.ports if port.optional),
        rotate=config.rotate,
        warp=config.warp,
        warp_m=config.warp_m,
        noise=config.noise,
        stretch=config.stretch,
        solarize=config.solarize,
        jitter_days=config.jitter_days,
        gsd_m={port.name: port.gsd_m for port in spec.ports},
        target_gsd_m=spec.gsd_m,
    )


class _Run:
    """One training: network, optimiser, objective and samples."""

    def __init__(
        self, spec: ModelSpec, config: TrainConfig, samples: PatchSamples, device: str, ctx: RunContext
    ) -> None:
        torch.manual_seed(config.seed)
        self.spec, self.config, self.samples, self.device, self.ctx = spec, config, samples, device, ctx
        self.network = build_model(spec).to(device)
        self.updater = Updater(self.network, config, device)
        self.training, self.validation = samples.split("train"), samples.split("validation")
        class_px = np.sum([samples.records[index].class_px for index in self.training], axis=0)
        self.objective = make_objective(config, class_px.tolist(), device)
        self.augmentation = _augmentation(spec, config)
        self._keep: Callable[[Progress], None] = lambda progress: None

    def fit(self, progress: Progress | None, checkpoint: Path | None, key: str) -> Progress:
        """Train from the beginning or from a checkpoint to the last epoch, or until nothing gets better."""
        if checkpoint is not None:
            self._keep = lambda progress: write_checkpoint(checkpoint, self._gather(progress), key)
        if progress is None:
            progress = Progress()
        else:
            self.network.load_state_dict(progress.weights)
            self.updater.load_state(progress.facts, progress.tensors)
            self.objective.load_state(progress.objective)
        while len(progress.rows) < self.config.epochs and not self._stalled(progress):
            epoch = len(progress.rows) + 1
            row = self._epoch(epoch, progress)
            self.objective.on_epoch_end(epoch, self.network)
            with self.updater.averaged():
                row, score = self._validate(row)
                if score > progress.best_score:
                    progress.best, progress.best_epoch, progress.best_score = snapshot(self.network), epoch, score
            progress.rows.append(row)
            progress.step, progress.total = 0, 0.0
            self._keep(progress)
        with self.updater.averaged():
            progress.weights = snapshot(self.network)
        return progress

    def _gather(self, progress: Progress) -> Progress:
        """The state at this moment, with what is needed to go on within an epoch."""
        progress.weights = snapshot(self.network)
        progress.facts, progress.tensors = self.updater.state()
        progress.objective = self.objective.state()
        progress.random = {}
        if progress.step:
            progress.random["cpu"] = torch.get_rng_state()
            if self.device.startswith("cuda"):
                progress.random["cuda"] = torch.cuda.get_rng_state(self.device)
        return progress

    def _stalled(self, progress: Progress) -> bool:
        patience = self.config.patience
        if patience is None or len(progress.rows) - progress.best_epoch < patience:
            return False
        log.info("no better epoch since epoch %d: training ends", progress.best_epoch)
        return True

    def _autocast(self) -> torch.autocast:
        kind = torch.float16 if self.config.precision == "float16" else torch.bfloat16
        return torch.autocast(self.device.split(":")[0], kind, enabled=self.config.precision != "float32")

    def _begin(self, epoch: int, progress: Progress) -> list[int]:
        """Set every source of chance for an epoch, or for the rest of one; returns the order of its patches."""
        config = self.config
        # Everything random in an epoch hangs on the seed and its number, so that a resumed run sees the same.
        torch.manual_seed(config.seed * 1_000_003 + epoch)
        order: list[int] = np.random.default_rng([config.seed, epoch]).permutation(self.training).tolist()
        if progress.step:
            torch.set_rng_state(progress.random["cpu"])
            if "cuda" in progress.random:
                torch.cuda.set_rng_state(progress.random["cuda"], self.device)
        self.network.train()
        return order

    def _epoch(self, epoch: int, progress: Progress) -> EpochRow:
        config, together = self.config, self.config.accumulate
        order = self._begin(epoch, progress)
        steps = math.ceil(len(order) / config.batch)
        updates = math.ceil(steps / together)
        kept, rate = time.monotonic(), 0.0
        batches = self.samples.batches(
            order[progress.step * config.batch :], config.batch, self.augmentation, (config.seed, epoch)
        )
        for number, batch in enumerate(batches, progress.step):
            self.ctx.check()
            if number % together == 0:
                self.updater.begin(min(together, steps - number))
            with self._autocast():
                loss = self.objective.step(self.network, batch.to(self.device))
            value = loss.item()
            if not math.isfinite(value):
                raise _not_a_number(value, epoch, number + 1, batch.patches)
            self.updater.backward(loss)
            progress.total += value * len(batch.patches)
            if (number + 1) % together == 0 or number + 1 == steps:
                position = (epoch - 1) * updates + number // together
                rate = learning_rate_at(position, updates * config.epochs, config)
                norm = self.updater.update(rate)
                if not math.isfinite(norm):
                    raise _not_a_number(norm, epoch, number + 1, batch.patches)
                if number + 1 < steps and time.monotonic() - kept >= KEEP_EVERY_S:
                    progress.step, kept = number + 1, time.monotonic()
                    self._keep(progress)
            done = epoch - 1 + (number + 1) / steps
            self.ctx.progress(done, config.epochs, f"epoch {epoch} of {config.epochs}, loss {value:.3f}")
        return EpochRow(epoch, rate, progress.total / len(order))

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

    def draw(self, patches: Path, target: Path) -> None:
        """Samples of the validation patches (else of the training ones), with what the network makes of them."""
        from landcover_cli.labels.legend import parse_legend
        from landcover_cli.learn.preview import chosen_samples, draw_sheet

        of_split = self.validation or self.training
        places = chosen_samples([self.samples.records[index] for index in of_split], self.config.samples)
        chosen = [of_split[place] for place in places]
        predicted: dict[int, np.ndarray] = {}
        self.network.eval()
        with torch.inference_mode():
            for batch in self.samples.batches(chosen, self.config.batch):
                with self._autocast():
                    logits = self.network(batch.to(self.device).inputs)
                found = logits_on_grid(logits, (batch.target.shape[-2], batch.target.shape[-1])).argmax(1).cpu().numpy()
                predicted |= dict(zip(batch.patches, found, strict=True))
        legend = parse_legend({**self.spec.legend, "classes": list(self.spec.classes)}, self.spec.legend["id"])
        draw_sheet(patches, target, legend, chosen, predicted)

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


@contextmanager
def _enough_memory(config: TrainConfig) -> Iterator[None]:
    """A device that is too small is the user's to mend.

    Raises:
        InputError: Out of memory; says which setting to lower.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        text = str(error)
        if isinstance(error, RuntimeError) and "out of memory" not in text and "can't allocate memory" not in text:
            raise
        raise InputError(
            f"out of memory with batches of {config.batch} patches",
            remedy="lower train.batch (and raise train.accumulate as much: the same patches per update), make smaller "
            "patches, or set train.precision: bfloat16; the same command goes on from the last checkpoint",
        ) from error


def _not_a_number(value: float, epoch: int, step: int, patches: tuple[int, ...]) -> InputError:
    shown = ", ".join(str(patch) for patch in patches)
    return InputError(
        f"the loss or its gradient became {value} in epoch {epoch}, step {step} (patches {shown} of the index)",
        remedy="look at those patches for extreme values, or lower train.learning_rate",
    )
