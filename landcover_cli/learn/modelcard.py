"""``MODEL_CARD.md``: what a model is, what it was trained on and what it is worth, for whoever is handed the folder.

After Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019). Every figure stands in ``metrics.json`` or
``model.json`` too. Nothing of time, host or path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landcover_cli.config.learning import TrainConfig
    from models.spec import ModelSpec

__all__ = ["CARD", "model_card"]

CARD = "MODEL_CARD.md"
_FIGURES = (
    ("overall_accuracy", "overall accuracy"),
    ("average_accuracy", "average accuracy"),
    ("macro_f1", "macro F1"),
    ("mean_iou", "mean IoU"),
    ("ece_calibrated", "calibration error, calibrated"),
)


def model_card(
    spec: ModelSpec, metrics: Mapping[str, Any], config: TrainConfig, splits: Mapping[str, Any] | None = None
) -> str:
    """The card as Markdown.

    Args:
        spec: Description of the network.
        metrics: Content of ``metrics.json``.
        config: Training settings; those that are not the defaults are listed.
        splits: Content of ``splits.json``; None where it is not known.
    """
    parts = [
        f"# Land-cover model: {spec.model}",
        f"{spec.source}. {metrics['parameters']:,} parameters. Licence of the weights: {spec.licence}.",
        _inputs(spec),
        _training(metrics, config, splits or {}),
        _worth(spec, metrics),
        _limits(spec, metrics, splits or {}),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _inputs(spec: ModelSpec) -> str:
    rows = [
        [
            p.name + (" (optional)" if p.optional else ""),
            p.kind,
            ", ".join(p.bands),
            f"{p.gsd_m:g}",
            p.units,
            p.transform,
        ]
        for p in spec.ports
    ]
    calendar = ""
    if spec.calendar:
        calendar = f" Series are composites by {spec.calendar['step']}, {spec.calendar['length']} in training."
    return (
        f"## Inputs and output\n\n{_table(['input', 'kind', 'bands', 'pixel (m)', 'units', 'transform'], rows)}\n\n"
        f"Output: {len(spec.classes)} classes of legend `{spec.legend['id']}` (version {spec.legend['version']}) at "
        f"{spec.gsd_m:g} m. Trained on squares of {spec.patch_px} pixels.{calendar}"
    )


def _training(metrics: Mapping[str, Any], config: TrainConfig, splits: Mapping[str, Any]) -> str:
    defaults = type(config)()
    changed = [
        f"- {name}: {value!r}".replace("'", "")
        for name, value in config
        if value != getattr(defaults, name) and name != "options"
    ]
    changed += [f"- options.{name}: {value}" for name, value in sorted(config.options.items())]
    lines = [
        "## Training",
        "",
        f"{metrics['train_patches']} patches; weights of epoch {metrics['best_epoch']} of {metrics['epochs']}, "
        f"chosen by {config.select.replace('_', ' ')}"
        + (" on validation patches." if "validation" in metrics else ": there are no validation patches, so the last."),
    ]
    if splits:
        patches = ", ".join(f"{count} {name}" for name, count in splits["patches"].items())
        lines.append(f"Split by {splits['method'].replace('_', ' ')}: {patches} patches; no two splits share ground.")
    if changed:
        lines += ["", "Settings that are not the defaults:", "", *changed]
    return "\n".join(lines)


def _worth(spec: ModelSpec, metrics: Mapping[str, Any]) -> str:
    names = [name for name in ("validation", "test") if name in metrics]
    if not names:
        return "## What it is worth\n\nNot measured: there are neither validation nor test patches."
    rows = [["pixels", *(f"{metrics[name]['pixels']:,}" for name in names)]]
    rows += [[title, *(_shown(metrics[name].get(key)) for name in names)] for key, title in _FIGURES]
    classes = [
        [str(item["code"]), str(item["name"]), *(_shown(metrics[name]["f1"][index]) for name in names)]
        for index, item in enumerate(spec.classes)
    ]
    heads = [f"F1, {name}" for name in names]
    return (
        f"## What it is worth\n\n{_table(['figure', *names], rows)}\n\n{_table(['code', 'class', *heads], classes)}\n\n"
        f"Logits are divided by {spec.temperature:g} before the softmax (fitted on validation patches)."
    )


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _limits(spec: ModelSpec, metrics: Mapping[str, Any], splits: Mapping[str, Any]) -> str:
    lines = ["- These are counts over labelled pixels of patches, no sample of a map: areas and map accuracy need one."]
    unseen = [
        str(item["name"])
        for index, item in enumerate(spec.classes)
        if "test" in metrics and metrics["test"]["f1"][index] is None
    ]
    if unseen:
        lines.append(f"- No test pixel of: {', '.join(unseen)}. Nothing is known of these.")
    if splits.get("method") == "random":
        lines.append(
            "- The split is random: neighbours stand on both sides, and the figures are better than elsewhere."
        )
    lines.append("- Only as good as its labels, where and when they were taken.")
    return "## Limits\n\n" + "\n".join(lines)
