"""What an assessment says: one document of plain values, honest about what its numbers rest on."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from landcover_cli.assess.area import AreaEstimates, estimate
from landcover_cli.assess.matrix import Accuracy, ErrorMatrix

Design = Literal["none", "stratified", "random"]
Kind = Literal["pixels", "points"]

_BASIS = {
    ("none", "pixels"): "Every reference pixel within the map is compared with it, ground of training and validation "
    "patches left out where that was asked for. This is a count over the reference ground, not a probability sample of "
    "the map: it carries no sampling error, and how far it holds elsewhere depends on how that ground was chosen. "
    "Neighbouring pixels are alike, so their number says little about certainty.",
    ("none", "points"): "Every reference point within the map is compared with it. Nothing is known about how the "
    "points were chosen, so the figures describe these points, without standard errors.",
    ("stratified", "pixels"): "The reference is taken as a random sample, stratified by the map's classes.",
    ("stratified", "points"): "The reference points are taken as a random sample, stratified by the map's classes.",
    ("random", "pixels"): "The reference is taken as a simple random sample, poststratified by the map's classes.",
    ("random", "points"): "The reference points are taken as a simple random sample, poststratified by the map's "
    "classes.",
}


@dataclass(frozen=True)
class Measured:
    """What was counted.

    Attributes:
        matrix: Pairs of map and reference.
        map_px: ``[K]`` pixels of the whole map per class.
        map_area_m2: ``[K]`` their true area.
        excluded: Reference units left out because a training or validation patch covers them.
        kind: What a unit is.
    """

    matrix: ErrorMatrix
    map_px: np.ndarray
    map_area_m2: np.ndarray
    excluded: int
    kind: Kind


def summarise(measured: Measured, classes: Sequence[Mapping[str, Any]], design: Design) -> dict[str, Any]:
    """The assessment as JSON-able values; undefined figures are None.

    Args:
        measured: The counts.
        classes: Legend entries in index order: ``code``, ``name``, ``color``.
        design: How the reference was drawn.

    Raises:
        InputError: A sample was announced, but a mapped class has none.
    """
    accuracy = measured.matrix.result()
    document: dict[str, Any] = {
        "format": 1,
        "basis": "census" if design == "none" and measured.kind == "pixels" else design,
        "basis_note": _BASIS[design, measured.kind],
        "unit": measured.kind,
        "compared": accuracy.total,
        "without_class_in_map": int(measured.matrix.unmapped.sum()),
        "excluded_training": measured.excluded,
        "overall_accuracy": _number(accuracy.overall),
        "kappa": _number(accuracy.kappa),
        "mean_iou": _number(accuracy.mean_iou),
        "mean_f1": _number(accuracy.mean_f1),
        "average_accuracy": _number(accuracy.average),
        "averages_over": [int(item["code"]) for item, here in zip(classes, accuracy.present, strict=True) if here],
        "without_reference": [
            int(item["code"]) for item, here in zip(classes, accuracy.present, strict=True) if not here
        ],
        "classes": [_class(item, index, measured, accuracy) for index, item in enumerate(classes)],
        "error_matrix": measured.matrix.counts.tolist(),
        "error_matrix_axes": "rows: map, columns: reference, both in the order of `classes`",
        "estimates": None,
    }
    if design != "none":
        document["estimates"] = _estimates(estimate(measured.matrix.counts, measured.map_area_m2), measured)
    return document


def _class(item: Mapping[str, Any], index: int, measured: Measured, accuracy: Accuracy) -> dict[str, Any]:
    return {
        "code": int(item["code"]),
        "name": str(item["name"]),
        "color": str(item["color"]),
        "map_px": int(measured.map_px[index]),
        "map_area_m2": round(float(measured.map_area_m2[index]), 3),
        "reference": int(accuracy.counts[:, index].sum()),
        "mapped": int(accuracy.counts[index].sum()),
        "users_accuracy": _number(accuracy.users[index]),
        "producers_accuracy": _number(accuracy.producers[index]),
        "f1": _number(accuracy.f1[index]),
        "iou": _number(accuracy.iou[index]),
    }


def _estimates(found: AreaEstimates, measured: Measured) -> dict[str, Any]:
    total = float(measured.map_area_m2.sum())
    return {
        "source": "Olofsson et al. 2014; intervals: 95 %",
        "overall_accuracy": found.overall.to_dict(),
        "classes": [
            {"users_accuracy": users.to_dict(), "producers_accuracy": producers.to_dict(), "area_m2": area.to_dict()}
            for users, producers, area in zip(
                found.users, found.producers, (item.scaled(total) for item in found.area), strict=True
            )
        ],
    }


def _number(value: float) -> float | None:
    value = float(value)
    return value if math.isfinite(value) else None


def matrix_csv(matrix: ErrorMatrix, classes: Sequence[Mapping[str, Any]]) -> str:
    """The error matrix as CSV: a row per map class, a column per reference class, and what the map left open."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["map \\ reference", *[f"{item['code']} {item['name']}" for item in classes]])
    for item, row in zip(classes, matrix.counts, strict=True):
        writer.writerow([f"{item['code']} {item['name']}", *row.tolist()])
    writer.writerow(["no class in the map", *matrix.unmapped.tolist()])
    return out.getvalue()
