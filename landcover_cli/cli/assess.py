"""`lc assess`: what a map is worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from landcover_cli.cli import options
from landcover_cli.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command("assess")(assess)


def assess(
    class_map: Annotated[Path, typer.Argument(help="Class map (class indices).", metavar="MAP")],
    reference: Annotated[Path, typer.Option(help="Polygons, points or a class raster of known ground.")],
    out: options.Out,
    legend: Annotated[Path | None, typer.Option(help="The map's legend; default: legend.json beside it.")] = None,
    attribute: Annotated[str | None, typer.Option(help="Attribute with the class code or name.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer, NetCDF variable, or band of the reference.")] = None,
    crosswalk: Annotated[Path | None, typer.Option(help="Crosswalk from the reference's codes.")] = None,
    rule: Annotated[str, typer.Option(help="Pixels that a polygon labels: centre or all_touched.")] = "centre",
    ignore: Annotated[list[int] | None, typer.Option(help="Code that means `no reference`; may be repeated.")] = None,
    exclude: Annotated[
        Path | None, typer.Option(help="index.parquet of the patches: training and validation ground is left out.")
    ] = None,
    design: Annotated[
        str, typer.Option(help="How the reference was drawn: none (a count), stratified (by map class) or random.")
    ] = "none",
    as_json: options.Json = False,
) -> None:
    """Compare a map with reference ground: error matrix, accuracies, areas."""
    from landcover_cli.io.assessment import legend_of_map, measure, read_source, trained_ground, write_assessment
    from landcover_cli.io.atomic import atomic_folder
    from landcover_cli.io.labelsource import LabelSource
    from landcover_cli.io.legendfile import read_crosswalk
    from landcover_cli.io.rastergrid import grid_like

    if rule not in ("centre", "all_touched"):
        raise UsageError(f"--rule {rule!r} is unknown", remedy="use centre or all_touched")
    if design not in ("none", "stratified", "random"):
        raise UsageError(f"--design {design!r} is unknown", remedy="use none, stratified or random")
    classes = legend_of_map(class_map, legend)
    source = LabelSource(
        path=reference,
        legend=classes,
        crosswalk=read_crosswalk(crosswalk, classes) if crosswalk else None,
        attribute=attribute,
        layer=layer,
        ignore=tuple(ignore or ()),
        rule=rule,  # type: ignore[arg-type]
        what="reference",
    )
    with atomic_folder(out) as scratch:
        measured = measure(
            class_map,
            classes,
            read_source(source),
            kind="points" if source.is_points() else "pixels",
            excluded=trained_ground(exclude, str(grid_like(class_map).crs)) if exclude else (),
        )
        document = write_assessment(scratch, measured, classes, design)  # type: ignore[arg-type]
    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False))
    else:
        _print(document)


def _print(document: dict[str, Any]) -> None:
    typer.echo(f"{'code':>8} {'reference':>12} {'user':>8} {'producer':>9} {'F1':>7} {'IoU':>7}  class")
    for item in document["classes"]:
        figures = [_shown(item[name]) for name in ("users_accuracy", "producers_accuracy", "f1", "iou")]
        typer.echo(
            f"{item['code']:>8} {item['reference']:>12,} {figures[0]:>8} {figures[1]:>9} {figures[2]:>7} "
            f"{figures[3]:>7}  {item['name']}"
        )
    typer.echo(
        f"overall accuracy {_shown(document['overall_accuracy'])}, kappa {_shown(document['kappa'])}, mean IoU "
        f"{_shown(document['mean_iou'])}, average accuracy {_shown(document['average_accuracy'])} "
        f"({document['compared']:,} {document['unit']}, {document['excluded_training']:,} left out)"
    )
    if document["estimates"]:
        overall = document["estimates"]["overall_accuracy"]
        typer.echo(f"estimated overall accuracy {_shown(overall['value'])}, 95 %: {_interval(overall, 1, '.3f')}")
        for item, found in zip(document["classes"], document["estimates"]["classes"], strict=True):
            area = found["area_m2"]
            typer.echo(f"{item['name']}: {area['value'] / 1e4:,.1f} ha, 95 %: {_interval(area, 1e4, ',.1f')} ha")
    typer.echo(document["basis_note"])


def _interval(found: dict[str, Any], divisor: float, form: str) -> str:
    if found["low"] is None:
        return "-"
    few = " (few samples)" if found["few_samples"] else ""
    return f"{found['low'] / divisor:{form}} … {found['high'] / divisor:{form}}{few}"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
