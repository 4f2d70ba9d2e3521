"""Training curves as CSV and as a picture, the same bytes for the same numbers."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["EpochRow", "write_curves"]


@dataclass(frozen=True)
class EpochRow:
    """One epoch; None where there is no validation."""

    epoch: int
    learning_rate: float
    train_loss: float
    validation_loss: float | None = None
    overall_accuracy: float | None = None
    macro_f1: float | None = None
    mean_iou: float | None = None


def write_curves(folder: Path, rows: Sequence[EpochRow], best_epoch: int) -> None:
    """Write ``curves.csv`` and ``curves.png``."""
    with (folder / "curves.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(EpochRow.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _shown(value) for key, value in asdict(row).items()})
    _draw(folder / "curves.png", rows, best_epoch)


def _shown(value: float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.6g}"


def _draw(path: Path, rows: Sequence[EpochRow], best_epoch: int) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    losses, scores = figure.subplots(1, 2)
    epochs = [row.epoch for row in rows]
    losses.plot(epochs, [row.train_loss for row in rows], label="training")
    validated = [row for row in rows if row.validation_loss is not None]
    if validated:
        at = [row.epoch for row in validated]
        losses.plot(at, [row.validation_loss for row in validated], label="validation")
        for name, title in (
            ("overall_accuracy", "overall accuracy"),
            ("macro_f1", "macro F1"),
            ("mean_iou", "mean IoU"),
        ):
            scores.plot(at, [getattr(row, name) for row in validated], label=title)
        scores.axvline(best_epoch, color="0.6", linewidth=1, label="best epoch")
        scores.legend(loc="lower right", fontsize=8)
    losses.set(xlabel="epoch", ylabel="loss")
    losses.legend(fontsize=8)
    scores.set(xlabel="epoch", ylabel="validation", ylim=(0, 1))
    # No software name and no date: the same numbers give the same file.
    figure.savefig(path, format="png", metadata={"Software": None})
