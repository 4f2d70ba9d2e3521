"""From finished results to the page: which files say what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from landcover_cli.errors import InputError
from landcover_cli.io.assessment import legend_of_map
from landcover_cli.io.overview import (
    CLEAR_CLASSES,
    RasterView,
    class_areas,
    clear_counts,
    read_curves,
    read_document,
    view_raster,
)
from landcover_cli.labels.legend import Legend
from landcover_cli.report.page import Chart, ClassRow, Listing, Page, Picture, RegionPart, heat, hectares, percent
from landcover_cli.report.png import RAMPS, class_png, data_uri, ramp_png
from landcover_cli.report.svg import LINE_COLORS, STACK_COLORS, line_chart, stacked_bars

MAP_PX, SIDE_PX = 1000, 600
_LIST_LIMIT = 500
_SHOWN = (
    *("format", "basis_note", "unit", "compared", "without_class_in_map", "excluded_training", "overall_accuracy"),
    *("kappa", "mean_iou", "mean_f1", "average_accuracy", "without_reference", "classes", "error_matrix", "estimates"),
)
_NO_CURVE = ("epoch", "step", "lr", "learning_rate", "second", "time")


@dataclass(frozen=True)
class Results:
    """Where results lie; everything but the maps may be missing.

    Attributes:
        title: Heading of the page.
        maps: Region → folder with ``<region>_class.tif`` and ``legend.json``.
        assessments: Region → folder with ``assessment.json``.
        model: Folder with ``model.json``, ``curves.csv``, ``metrics.json``.
        cubes: Zarr folders of the mapped tiles.
        inputs: Source → ids of scenes or names of files.
    """

    title: str
    maps: Mapping[str, Path]
    assessments: Mapping[str, Path] = field(default_factory=dict)
    model: Path | None = None
    cubes: Sequence[Path] = ()
    inputs: Mapping[str, Sequence[str]] = field(default_factory=dict)


def find_results(folder: Path, title: str) -> Results:
    """Results below a folder, by the names of their files.

    Raises:
        InputError: No class map with a legend is there.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder", remedy="give the folder of results, e.g. work/products")
    maps = {
        path.name.removesuffix("_class.tif"): path.parent
        for path in sorted(folder.rglob("*_class.tif"))
        if path.with_name("legend.json").is_file()
    }
    if not maps:
        raise InputError(
            f"{folder} holds no map (<name>_class.tif with legend.json beside it)",
            remedy="give the folder of results, e.g. work/products",
        )
    assessments: dict[str, Path] = {}
    for path in sorted(folder.rglob("assessment.json")):
        name = path.parent.name if path.parent.name in maps else next(iter(maps)) if len(maps) == 1 else None
        if name is not None:
            assessments.setdefault(name, path.parent)
    models = sorted(path.parent for path in folder.rglob("model.json"))
    cubes = sorted(path for path in folder.rglob("cube.zarr") if path.is_dir())
    return Results(title, maps, assessments, models[0] if models else None, cubes)


def build_page(results: Results) -> Page:
    """The page of some results.

    Raises:
        InputError: A result is damaged.
    """
    try:
        return _build_page(results)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        # The documents beside a map are other people's files as soon as a folder is handed around.
        raise InputError(
            f"the results of {', '.join(sorted(results.maps))} are damaged: {type(error).__name__} {error}",
            remedy="make them again with `lc run`",
        ) from error


def _build_page(results: Results) -> Page:
    training, training_facts = _training(results.model) if results.model else ((), ())
    provenance, files = _provenance(results)
    return Page(
        title=results.title,
        regions=tuple(
            _region(name, folder, results.assessments.get(name)) for name, folder in sorted(results.maps.items())
        ),
        training=training,
        training_facts=training_facts,
        coverage=_coverage(results.cubes),
        inputs=tuple(
            Listing(f"{source}: {len(ids):,} items", tuple(ids[:_LIST_LIMIT]), max(0, len(ids) - _LIST_LIMIT))
            for source, ids in sorted(results.inputs.items())
        ),
        provenance=provenance,
        files=files,
    )


def _region(name: str, folder: Path, assessed: Path | None) -> RegionPart:
    class_map = folder / f"{name}_class.tif"
    legend = legend_of_map(class_map)
    view = view_raster(class_map, MAP_PX)
    pixels, area_m2 = class_areas(class_map, len(legend.classes))
    assessment = _assessment(assessed / "assessment.json", len(legend.classes)) if assessed else None
    facts = [("mapped", f"{hectares(float(area_m2.sum()) / 1e4)} ha"), ("classes mapped", str(int((pixels > 0).sum())))]
    if assessment:
        facts.insert(0, ("overall accuracy", percent(assessment["overall_accuracy"])))
    period = _period(folder)
    if period:
        facts.append(("period", period))
    pictures = [_map_picture(view, legend, pixels)]
    pictures += _confidence_picture(folder / f"{name}_confidence.tif")
    pictures += _validity_pictures(folder / f"{name}_validity.tif")
    return RegionPart(
        name=name,
        facts=tuple(facts),
        pictures=tuple(pictures),
        classes=_class_rows(legend, area_m2, assessment),
        assessment=assessment,
        matrix=heat(assessment["error_matrix"], [item["name"] for item in assessment["classes"]])
        if assessment
        else None,
    )


def _assessment(path: Path, n_classes: int) -> dict[str, Any]:
    """The document of an assessment, if it has what the page shows.

    Raises:
        InputError: Damaged, of another version, or of another legend than the map's.
    """
    document = read_document(path)
    missing = [name for name in _SHOWN if name not in document]
    problem = f"{missing[0]!r} is missing" if missing else ""
    if not problem and (document["format"] != 1 or len(document["classes"]) != n_classes):
        problem = f"format {document['format']!r}, {len(document['classes'])} classes; the map has {n_classes}"
    if problem:
        raise InputError(f"{path}: {problem}", remedy="assess the map again")
    return document


def _period(folder: Path) -> str:
    path = folder / "item.json"
    if not path.is_file():
        return ""
    properties = read_document(path).get("properties", {})
    ends = [str(properties.get(key) or "")[:10] for key in ("start_datetime", "end_datetime")]
    return " – ".join(end for end in ends if end)


def _map_picture(view: RasterView, legend: Legend, pixels: np.ndarray) -> Picture:
    index = view.values_byx[0]
    shown = np.argsort(-pixels, kind="stable")[:30]
    key = [(legend.classes[i].color, legend.classes[i].name) for i in shown if pixels[i]]
    more = int((pixels > 0).sum()) - len(key)
    note = f"{_distance(view.width_m)} × {_distance(view.height_m)}, north is up, {view.crs}"
    return Picture(
        "Land cover",
        data_uri(class_png(index, [item.rgb for item in legend.classes])),
        tuple(key),
        note + (f"; and {more} more classes" if more > 0 else ""),
        _small(view),
    )


def _confidence_picture(path: Path) -> list[Picture]:
    if not path.is_file():
        return []
    view = view_raster(path, SIDE_PX)
    values = view.values_byx[0]
    valid = values != view.nodata if view.nodata is not None else np.ones(values.shape, bool)
    picture = data_uri(ramp_png(values * view.scale, valid, 0.0, 1.0, "confidence"))
    note = "Probability that the model gives the mapped class; a model's own view, not an accuracy."
    return [Picture("Confidence", picture, _ramp_key("confidence", 0, 100, " %"), note, _small(view))]


def _validity_pictures(path: Path) -> list[Picture]:
    if not path.is_file():
        return []
    view = view_raster(path, SIDE_PX)
    pictures = []
    for number, values in enumerate(view.values_byx):
        valid = values != view.nodata if view.nodata is not None else np.ones(values.shape, bool)
        high = max(float(np.max(values[valid])), 1.0) if valid.any() else 1.0
        title = view.descriptions[number] or f"clear observations, band {number + 1}"
        uri = data_uri(ramp_png(values, valid, 0.0, high, "validity"))
        key = _ramp_key("validity", 0, high, "")
        pictures.append(Picture(title[:1].upper() + title[1:], uri, key, "", _small(view)))
    return pictures


def _ramp_key(ramp: str, low: float, high: float, unit: str) -> tuple[tuple[str, str], ...]:
    colors = RAMPS[ramp]
    steps = [low + (high - low) * number / (len(colors) - 1) for number in range(len(colors))]
    return tuple((color, f"{step:.3g}{unit}") for color, step in zip(colors, steps, strict=True))


def _small(view: RasterView) -> bool:
    return bool(max(view.values_byx.shape[1:]) < 400)


def _distance(length: float) -> str:
    return f"{length / 1000:.1f} km" if length >= 1000 else f"{length:.0f} m"


def _class_rows(legend: Legend, area_m2: np.ndarray, assessment: Mapping[str, Any] | None) -> tuple[ClassRow, ...]:
    estimates = (assessment or {}).get("estimates") or {}
    total = float(area_m2.sum()) or 1.0
    rows = []
    for index, item in enumerate(legend.classes):
        found = estimates["classes"][index]["area_m2"] if estimates else None
        if not area_m2[index] and not (found and found["value"]):
            continue
        text = ""
        if found:
            value, low, high = (hectares(found[key] / 1e4) for key in ("value", "low", "high"))
            text = f"{value} ({low} – {high}{'; few samples' if found['few_samples'] else ''})"
        share = float(area_m2[index])
        rows.append(ClassRow(item.code, item.name, item.color, share / 1e4, share / total, text))
    return tuple(rows)


def _training(folder: Path) -> tuple[tuple[Chart, ...], tuple[tuple[str, str], ...]]:
    charts = []
    if (folder / "curves.csv").is_file():
        curves = read_curves(folder / "curves.csv")
        epochs = next((column for name, column in curves.items() if name.lower() in ("epoch", "step")), None)
        names = [n for n in curves if not any(word in n.lower().split("_") or n.lower() == word for word in _NO_CURVE)]
        names = [name for name in names if any(value is not None for value in curves[name])]
        groups = {"Loss": [n for n in names if "loss" in n.lower()], "Scores": [n for n in names if "loss" not in n]}
        for title, chosen in groups.items():
            if not chosen:
                continue
            x = [float(number) for number in range(1, len(curves[chosen[0]]) + 1)]
            if epochs is not None and all(value is not None for value in epochs):
                x = [float(value) for value in epochs if value is not None]
            lines = {name: curves[name] for name in chosen[: len(LINE_COLORS)]}
            key = tuple(zip(LINE_COLORS, (name.replace("_", " ") for name in lines), strict=False))
            charts.append(Chart(f"{title} by epoch", line_chart(x, lines, title), key))
    return tuple(charts), _model_facts(folder)


def _model_facts(folder: Path) -> tuple[tuple[str, str], ...]:
    facts = []
    if (folder / "model.json").is_file():
        model = read_document(folder / "model.json")
        model = model.get("spec", model)
        facts.append(("network", str(model.get("model", ""))))
        for port in model.get("ports", ()):
            facts.append(
                (f"input {port['name']}", f"{', '.join(port['bands'])} at {port['gsd_m']:g} m ({port['kind']})")
            )
        for name in ("patch_px", "halo_px", "temperature", "licence", "source"):
            if model.get(name):
                facts.append((name.replace("_", " "), str(model[name])))
    if (folder / "metrics.json").is_file():
        metrics = read_document(folder / "metrics.json")
        facts += [
            (name.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else str(value))
            for name, value in sorted(metrics.items())
            if isinstance(value, int | float | str) and not isinstance(value, bool)
        ]
    return tuple(facts)


def _coverage(cubes: Sequence[Path]) -> tuple[Chart, ...]:
    key = tuple(zip(STACK_COLORS, CLEAR_CLASSES, strict=True))
    return tuple(
        Chart(source, stacked_bars({label: counts for label, counts in periods.items() if sum(counts)}, source), key)
        for source, periods in clear_counts(cubes).items()
    )


def _provenance(results: Results) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """Versions, digests and keys, from the manifests and STAC items that lie beside the results."""
    facts: dict[str, str] = {}
    files: dict[str, str] = {}
    folders = {f"map {name}": folder for name, folder in sorted(results.maps.items())}
    if results.model:
        folders["model"] = results.model
    for title, folder in folders.items():
        item = folder / "item.json"
        if item.is_file():
            document = read_document(item)
            properties = document.get("properties", {})
            facts |= {
                f"{name.removeprefix('lc:').replace('_', ' ')} ({title})": str(properties[name])
                for name in ("lc:run_digest", "lc:model_digest")
                if name in properties
            }
            for asset in document.get("assets", {}).values():
                if "file:checksum" in asset:
                    files[Path(str(asset.get("href", ""))).name] = _plain_digest(str(asset["file:checksum"]))
        if (folder / "manifest.json").is_file():
            manifest = read_document(folder / "manifest.json")
            facts[f"result key ({title})"] = str(manifest.get("key", ""))
            facts |= {name: str(version) for name, version in sorted(manifest.get("versions", {}).items())}
            files |= {name: str(entry["sha256"]) for name, entry in sorted(manifest.get("files", {}).items())}
    return tuple(facts.items()), tuple(sorted(files.items()))


def _plain_digest(multihash: str) -> str:
    """The hex sha256 of a multihash (prefix 12 20), as `sha256sum` prints it."""
    return multihash[4:] if multihash.startswith("1220") and len(multihash) == 68 else multihash
