"""`lc labels`: labels of any kind on a grid."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landcover_cli.cli import options
from landcover_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from landcover_cli.config.labels import LabelSourceConfig
    from landcover_cli.core.grid import GeoBox
    from landcover_cli.core.types import Period
    from landcover_cli.io.labellayers import LabelLayers
    from landcover_cli.io.labelsource import LabelSource
    from landcover_cli.labels.legend import Legend

log = logging.getLogger("lc")


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command("labels")(labels)


def labels(
    source: Annotated[Path, typer.Argument(help="Polygons, points or a class raster.", metavar="SOURCE")],
    legend: Annotated[str, typer.Option(help="Legend file (YAML or JSON), or lc:NAME.")],
    out: options.Out,
    like: Annotated[Path | None, typer.Option(help="Raster whose grid is taken.")] = None,
    crs: Annotated[str | None, typer.Option(help="CRS of the grid, e.g. EPSG:32631.")] = None,
    res: Annotated[float | None, typer.Option(min=0.0, help="Pixel edge in units of the CRS.")] = None,
    bounds: Annotated[
        str | None, typer.Option(help="left,bottom,right,top in the CRS; snapped outwards to whole pixels.")
    ] = None,
    attribute: Annotated[str | None, typer.Option(help="Attribute with the class code or name.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer, NetCDF variable, or band.")] = None,
    crosswalk: Annotated[str | None, typer.Option(help="Crosswalk file (YAML or JSON), or lc:NAME.")] = None,
    rule: Annotated[str, typer.Option(help="Pixels that a polygon labels: centre or all_touched.")] = "centre",
    ignore: Annotated[list[int] | None, typer.Option(help="Code that means `no label`; may be repeated.")] = None,
    weight: Annotated[float, typer.Option(help="What a label counts in training, above 0.")] = 1.0,
    weight_attribute: Annotated[str | None, typer.Option(help="Attribute that the weight is multiplied by.")] = None,
    valid_from: Annotated[str | None, typer.Option(help="Attribute with the first day a label holds for.")] = None,
    valid_to: Annotated[str | None, typer.Option(help="Attribute with the last day a label holds for.")] = None,
    period: Annotated[
        str | None, typer.Option(help="START:END; labels that hold for no day of it are left out.")
    ] = None,
    others: Annotated[
        Path | None, typer.Option(help="YAML list of further sources by priority, as labels.others.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Bring labels to a grid, as compact class indices of a legend."""
    from landcover_cli.config.labels import LabelsConfig
    from landcover_cli.config.pipeline import parse_section
    from landcover_cli.io.labellayers import LabelLayers, write_layers_whole
    from landcover_cli.io.legendfile import read_legend
    from landcover_cli.labels.shipped import shipped

    if rule not in ("centre", "all_touched"):
        raise UsageError(f"--rule {rule!r} is unknown", remedy="use centre or all_touched")
    document = {
        "source": str(source),
        "legend": legend,
        "attribute": attribute,
        "layer": layer,
        "crosswalk": crosswalk,
        "rule": rule,
        "ignore": ignore or [],
        "weight": weight,
        "weight_attribute": weight_attribute,
        "valid_from": valid_from,
        "valid_to": valid_to,
        "others": _others(others),
    }
    section = parse_section(LabelsConfig, document, "labels", "lc labels")
    grid = _grid(like, crs, res, bounds)
    classes = read_legend(shipped("legends", legend) or Path(legend))
    days = _period(period)
    # Paths in the list are relative to it, as those of a pipeline file are.
    base = others.parent if others else Path()
    sources = (
        _source(section, classes, days, Path()),
        *(_source(part, classes, days, base) for part in section.others),
    )
    layers = LabelLayers(sources)
    facts = write_layers_whole(out, grid, layers)
    record = {**facts.to_dict(classes), "grid_px": grid.shape[0] * grid.shape[1]}
    if len(sources) > 1:
        record["sources"] = layers.to_list()
    _say(record, facts.warnings(), layers, out, as_json)


def _say(record: dict[str, Any], warnings: list[str], layers: LabelLayers, out: Path, as_json: bool) -> None:
    """Print what became of the labels."""
    if as_json:
        typer.echo(json.dumps({"labels": str(out), **record}, ensure_ascii=False))
        return
    for item in record["classes"]:
        typer.echo(f"{item['code']:>10}  {item['px']:>12,} px  {item['name']}")
    typer.echo(f"{record['labelled_px']:,} of {record['grid_px']:,} pixels are labelled: {out}")
    for part, given in zip(layers.sources, layers.facts, strict=True) if len(layers.sources) > 1 else ():
        typer.echo(
            f"{given.used_px:,} px from {part.path.name}; {given.agreed_px:,} px were labelled alike before, "
            f"{given.overruled_px:,} px otherwise"
        )
    for text in warnings:
        log.warning("%s", text)


def _others(path: Path | None) -> Any:
    """The list of further sources.

    Raises:
        InputError: Unreadable, or not YAML.
    """
    if path is None:
        return []
    from landcover_cli.config.strictyaml import load_document

    try:
        return load_document(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"--others {path}: {error}", remedy="give a YAML list of sources") from None


def _source(part: LabelSourceConfig, legend: Legend, period: Period | None, base: Path) -> LabelSource:
    from landcover_cli.io.labelsource import LabelSource
    from landcover_cli.io.legendfile import read_crosswalk
    from landcover_cli.labels.shipped import shipped

    crosswalk = None
    if part.crosswalk:
        crosswalk = read_crosswalk(shipped("crosswalks", part.crosswalk) or base / part.crosswalk, legend)
    return LabelSource(
        path=base / part.source,
        legend=legend,
        crosswalk=crosswalk,
        attribute=part.attribute,
        layer=part.layer,
        ignore=part.ignore,
        rule=part.rule,
        weight=part.weight,
        weight_attribute=part.weight_attribute,
        valid_from=part.valid_from,
        valid_to=part.valid_to,
        period=period,
    )


def _period(text: str | None) -> Period | None:
    """The days ``[START, END)``.

    Raises:
        UsageError: Not two days, or the end is not after the start.
    """
    if text is None:
        return None
    from datetime import date

    from landcover_cli.core.types import Period

    try:
        start, end = (date.fromisoformat(day) for day in text.split(":"))
    except ValueError:
        raise UsageError(f"--period {text!r} is not START:END", remedy="write e.g. 2021-01-01:2022-01-01") from None
    if end <= start:
        raise UsageError(f"--period {text!r} ends before it starts", remedy="swap start and end")
    return Period(start, end)


def _grid(like: Path | None, crs: str | None, res: float | None, bounds: str | None) -> GeoBox:
    """The grid asked for.

    Raises:
        UsageError: Neither --like nor all of --crs, --res, --bounds; or bounds that are none.
        InputError: --like is no raster.
    """
    from landcover_cli.io.rastergrid import grid_from_bounds, grid_like

    if like is not None:
        if crs or res or bounds:
            raise UsageError("--like and --crs/--res/--bounds exclude each other", remedy="give one of the two")
        return grid_like(like)
    if crs is None or not res or bounds is None:
        raise UsageError("which grid?", remedy="give --like RASTER, or all of --crs, --res and --bounds")
    try:
        left, bottom, right, top = (float(part) for part in bounds.split(","))
    except ValueError:
        raise UsageError(f"--bounds {bounds!r} is not left,bottom,right,top", remedy="write four numbers") from None
    return grid_from_bounds(crs, res, (left, bottom, right, top))
