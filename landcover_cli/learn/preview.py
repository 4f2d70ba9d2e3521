"""A sheet of samples with their labels: a shifted label or a wrong legend is seen before a night of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landcover_cli.io.patchindex import PatchRecord, read_index
from landcover_cli.io.patchstore import PatchPort, PatchSample, PatchStore
from landcover_cli.labels.legend import Legend
from landcover_cli.labels.splits import NAMES
from landcover_cli.learn.values import physical_values, transform_of

__all__ = ["PREVIEW", "chosen_samples", "draw_sheet", "picture_of", "write_preview"]

PREVIEW = "preview.png"
_TRUE_COLOUR = (("B04", "B03", "B02"), ("B4", "B3", "B2"), ("red", "green", "blue"))
_INVALID = 0.35
_COLUMNS = 4


def write_preview(folder: Path, legend: Legend, count: int) -> None:
    """Draw ``preview.png`` of a folder of patches; the same bytes for the same patches.

    Args:
        folder: With patch store and index.
        legend: Of the labels.
        count: Samples at most.

    Raises:
        InputError: No patches.
    """
    draw_sheet(folder, folder / PREVIEW, legend, chosen_samples(read_index(folder), count))


def draw_sheet(
    folder: Path,
    target: Path,
    legend: Legend,
    chosen: Sequence[int],
    predicted: Mapping[int, np.ndarray] | None = None,
) -> None:
    """Draw samples with their labels and, where given, what a network makes of them.

    Args:
        folder: With patch store and index.
        target: PNG file.
        legend: Of the labels.
        chosen: Positions of the samples in the store; at least one.
        predicted: Position → class indices ``[H, W]``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    store, records = PatchStore(folder), read_index(folder)
    width = 2 if predicted is None else 3
    columns = _COLUMNS if predicted is None else _COLUMNS - 1
    rows = -(-len(chosen) // columns)
    figure = Figure(figsize=(1.6 * width * columns, 1.9 * rows + 0.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, width * columns, squeeze=False)
    seen = np.sum([records[index].class_px for index in chosen], axis=0)
    for axis in axes.ravel():
        axis.set_axis_off()
    for place, index in enumerate(chosen):
        sample = store.read(index)
        picture, title = picture_of(sample, store.ports)
        shown = [(picture, title), (_coloured(sample.labels_yx, legend), f"{index}, {records[index].split}")]
        if predicted is not None:
            shown.append((_coloured(predicted[index], legend), "predicted"))
            seen = seen + np.bincount(predicted[index].ravel(), minlength=len(seen))
        for axis, (image, text) in zip(axes[place // columns, width * (place % columns) :], shown, strict=False):
            axis.imshow(image, interpolation="nearest")
            axis.set_title(text, fontsize=7)
    handles = [Patch(color=item.color, label=item.name) for item, px in zip(legend.classes, seen, strict=True) if px]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, fontsize=7, frameon=False)
    figure.savefig(target, format="png", metadata={"Software": None})


def chosen_samples(records: Sequence[PatchRecord], count: int) -> list[int]:
    """Samples spread evenly over splits and, within them, over what they mostly hold."""
    order = sorted(
        range(len(records)), key=lambda i: (NAMES.index(records[i].split), int(np.argmax(records[i].class_px)), i)
    )
    places = np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int))
    return [order[place] for place in places.tolist()]


def picture_of(sample: PatchSample, ports: Sequence[PatchPort]) -> tuple[np.ndarray, str]:
    """Red, green and blue ``[H, W, 3]`` from 0 to 1 of a sample's clearest date, and what it shows.

    The first input in reflectance is taken, else the first series, else the first input; grey is invalid.
    """
    here = [port for port in ports if port.name in sample.inputs]
    if not here:
        edge = sample.labels_yx.shape
        return np.full((*edge, 3), _INVALID), "no input"
    port = min(here, key=lambda p: (not p.units.startswith("reflectance"), p.kind != "series"))
    stored = sample.inputs[port.name]
    values, valid = physical_values(
        stored.data_tbyx, stored.valid_tyx, scale=port.scale, offset=port.offset, transform=transform_of(port.units)
    )
    date = int(np.argmax(valid.sum(axis=(1, 2))))
    bands = next((found for found in _TRUE_COLOUR if set(found) <= set(port.bands)), port.bands[:3])
    index = [port.bands.index(name) for name in bands]
    index += [index[0]] * (3 - len(index))
    picture = np.full((*valid.shape[1:], 3), _INVALID)
    seen = valid[date]
    if seen.any():
        shown = values[date, index][:, seen]
        low, high = np.percentile(shown, [2, 98], axis=1)
        picture[seen] = np.clip((shown.T - low) / np.maximum(high - low, 1e-6), 0, 1)
    label = stored.periods[date].label if stored.periods else "image"
    return picture, f"{port.name} {label}"


def _coloured(labels_yx: np.ndarray, legend: Legend) -> Any:
    table = np.ones((max(legend.nodata, len(legend.classes)) + 1, 3))
    for index, item in enumerate(legend.classes):
        table[index] = np.array(item.rgb) / 255
    return table[labels_yx]
