"""`lc labels`: labels of any kind on a grid."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landcover_cli.cli import options
from landcover_cli.errors import UsageError

if TYPE_CHECKING:
    from landcover_cli.core.grid import GeoBox

log = logging.getLogger("lc")


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command("labels")(labels)


def labels(
    source: Annotated[Path, typer.Argument(help="Polygons, points or a class raster.", metavar="SOURCE")],
    legend: Annotated[Path, typer.Option(help="Legend file (YAML or JSON).")],
    out: options.Out,
    like: Annotated[Path | None, typer.Option(help="Raster whose grid is taken.")] = None,
    crs: Annotated[str | None, typer.Option(help="CRS of the grid, e.g. EPSG:32631.")] = None,
    res: Annotated[float | None, typer.Option(min=0.0, help="Pixel edge in units of the CRS.")] = None,
    bounds: Annotated[
        str | None, typer.Option(help="left,bottom,right,top in the CRS; snapped outwards to whole pixels.")
    ] = None,
    attribute: Annotated[str | None, typer.Option(help="Attribute with the class code or name.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer, NetCDF variable, or band.")] = None,
    crosswalk: Annotated[Path | None, typer.Option(help="Crosswalk file (YAML or JSON).")] = None,
    rule: Annotated[str, typer.Option(help="Pixels that a polygon labels: centre or all_touched.")] = "centre",
    ignore: Annotated[list[int] | None, typer.Option(help="Code that means `no label`; may be repeated.")] = None,
    as_json: options.Json = False,
) -> None:
    """Bring labels to a grid, as compact class indices of a legend."""
    from landcover_cli.io.labelsource import LabelSource, write_labels_whole
    from landcover_cli.io.legendfile import read_crosswalk, read_legend

    if rule not in ("centre", "all_touched"):
        raise UsageError(f"--rule {rule!r} is unknown", remedy="use centre or all_touched")
    grid = _grid(like, crs, res, bounds)
    classes = read_legend(legend)
    reader = LabelSource(
        path=source,
        legend=classes,
        crosswalk=read_crosswalk(crosswalk, classes) if crosswalk else None,
        attribute=attribute,
        layer=layer,
        ignore=tuple(ignore or ()),
        rule=rule,  # type: ignore[arg-type]
    )
    facts = write_labels_whole(out, reader, grid)
    record = facts.to_dict(classes)
    if as_json:
        typer.echo(json.dumps({"labels": str(out), **record}, ensure_ascii=False))
        return
    for item in record["classes"]:
        typer.echo(f"{item['code']:>10}  {item['px']:>12,} px  {item['name']}")
    typer.echo(f"{record['labelled_px']:,} of {grid.shape[0] * grid.shape[1]:,} pixels are labelled: {out}")
    if facts.contradictory_px:
        log.warning("%d pixels got no label because points in them disagree", facts.contradictory_px)
    if facts.repaired:
        log.warning("%d label polygons cross themselves and were taken apart", facts.repaired)


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
