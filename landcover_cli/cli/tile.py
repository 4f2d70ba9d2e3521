"""`lc tile`: training patches from cubes and labels."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landcover_cli.cli import options
from landcover_cli.errors import UsageError

if TYPE_CHECKING:
    from landcover_cli.config.labels import TileConfig


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command("tile")(tile)


def tile(
    legend: Annotated[str, typer.Option(help="Legend file of the labels, or lc:NAME.")],
    out: options.Out,
    cube: Annotated[
        list[str] | None,
        typer.Option("--cube", metavar="NAME=PATH", help="Cube of a source; may be repeated, also per name."),
    ] = None,
    labels: Annotated[
        list[Path] | None, typer.Option(help="Class indices on the grid (`lc labels`); may be repeated.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="Description of a table of series, in place of cubes and labels.")
    ] = None,
    patch: Annotated[str, typer.Option(help="Patch edge in pixels, or in metres: 300m.")] = "64",
    stride: Annotated[int | None, typer.Option(min=1, help="Step between patches; default: the patch edge.")] = None,
    overlap: Annotated[str | None, typer.Option(help="Overlap of patches, in place of --stride: 8 or 80m.")] = None,
    layout: Annotated[str, typer.Option(help="dense, or centre: one patch around every labelled pixel.")] = "dense",
    min_labelled: Annotated[float, typer.Option(min=0, max=1, help="Least share of labelled pixels.")] = 0.02,
    split: Annotated[str, typer.Option(help="spatial_blocks, random, halves or attribute.")] = "spatial_blocks",
    zones: Annotated[Path | None, typer.Option(help="Polygons that the split `attribute` divides by.")] = None,
    attribute: Annotated[str | None, typer.Option(help="Attribute of the zones that names a zone.")] = None,
    ratios: Annotated[str, typer.Option(help="Train, validation, test; e.g. 5:3:2.")] = "0.6:0.2:0.2",
    block: Annotated[str, typer.Option(help="Edge of a spatial block in pixels, or in metres: 1280m.")] = "128",
    buffer: Annotated[str, typer.Option(help="Ground left out between splits in pixels, or in metres: 100m.")] = "0",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split.")] = 0,
    preview: Annotated[int, typer.Option(min=0, help="Samples on a sheet of pictures and labels.")] = 0,
    optional: Annotated[list[str] | None, typer.Option(help="Source that a map may lack; may be repeated.")] = None,
    as_json: options.Json = False,
) -> None:
    """Cut patches with spatial splits, class counts and normalisation statistics."""
    from landcover_cli.cli.progress import reporter
    from landcover_cli.core.unit import RunContext
    from landcover_cli.io.atomic import atomic_folder
    from landcover_cli.io.legendfile import read_legend
    from landcover_cli.labels.shipped import shipped
    from landcover_cli.learn.patching import LabelledRegion, make_patches

    config = _config(
        {
            **_lengths(patch, stride, overlap),
            "layout": layout,
            "min_labelled": min_labelled,
            "seed": seed,
            "preview": preview,
        },
        {
            "method": split,
            **_length("block", block),
            **_length("buffer", buffer),
            "zones": str(zones) if zones else None,
            "attribute": attribute,
        },
        ratios,
    )
    if table is not None:
        if cube or labels or zones:
            raise UsageError("--table goes without --cube, --labels and --zones", remedy="give one or the other")
        _from_table(table, legend, config, out, as_json)
        return
    if not cube or not labels:
        raise UsageError("which labels, and which cubes?", remedy="give --labels and --cube, or --table")
    cubes = _cubes(cube, optional or ())
    region = LabelledRegion("main", tuple(labels), {name: tuple(paths) for name, paths in cubes.items()})
    with reporter() as watch, atomic_folder(out) as scratch:
        facts = make_patches(
            [region],
            read_legend(shipped("legends", legend) or Path(legend)),
            config,
            scratch,
            RunContext(progress=watch.within),
            optional=optional or (),
            zones=zones,
        )
    _say(facts, out, as_json)


def _cubes(given: list[str], optional: Iterable[str]) -> dict[str, list[Path]]:
    """Source → pieces of its cube.

    Raises:
        UsageError: Not NAME=PATH, or an optional source that is no cube.
    """
    cubes: dict[str, list[Path]] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or not name or not path:
            raise UsageError(f"--cube {text!r} is not NAME=PATH", remedy="write e.g. --cube s2=s2.zarr")
        cubes.setdefault(name, []).append(Path(path))
    unknown = sorted(set(optional) - set(cubes))
    if unknown:
        raise UsageError(f"--optional {unknown[0]!r} is no --cube", remedy=f"the cubes are {', '.join(sorted(cubes))}")
    return cubes


def _say(facts: dict[str, Any], out: Path, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"patches": str(out), **facts["patches"]}))
        return
    shown = ", ".join(f"{count} {name}" for name, count in facts["patches"].items())
    typer.echo(f"{shown} patches of {facts['patch_px']} px: {out}")


def _from_table(table: Path, legend: str, config: TileConfig, out: Path, as_json: bool) -> None:
    from landcover_cli.cli.progress import reporter
    from landcover_cli.core.unit import RunContext
    from landcover_cli.io.atomic import atomic_folder
    from landcover_cli.io.legendfile import read_crosswalk, read_legend
    from landcover_cli.io.seriestable import read_table_description
    from landcover_cli.labels.shipped import shipped
    from landcover_cli.learn.tabling import make_table_patches

    description, base = read_table_description(table), table.parent
    classes = read_legend(shipped("legends", legend) or Path(legend))
    crosswalk = None
    if description.crosswalk:
        path = shipped("crosswalks", description.crosswalk) or base / description.crosswalk
        crosswalk = read_crosswalk(path, classes)
    with reporter() as watch, atomic_folder(out) as scratch:
        facts = make_table_patches(
            description, base, classes, config, scratch, RunContext(progress=watch.within), crosswalk=crosswalk
        )
    _say(facts, out, as_json)


def _length(name: str, text: str) -> dict[str, Any]:
    """``{name}_px`` or ``{name}_m`` of a length such as ``64`` or ``300m``.

    Raises:
        UsageError: Neither.
    """
    try:
        if text.endswith("m"):
            return {f"{name}_m": float(text[:-1])}
        return {f"{name}_px": int(text)}
    except ValueError:
        raise UsageError(f"--{name} {text!r} is no length", remedy="write pixels (64) or metres (300m)") from None


def _lengths(patch: str, stride: int | None, overlap: str | None) -> dict[str, Any]:
    """Patch and step between patches, in pixels or in metres.

    Raises:
        UsageError: Both --stride and --overlap, or units that differ.
    """
    found = _length("patch", patch)
    if overlap is None:
        return found | {"stride_px": stride}
    if stride is not None:
        raise UsageError("--stride and --overlap exclude each other", remedy="give one of the two")
    shared = _length("overlap", overlap)
    if "overlap_px" not in shared:
        return found | shared
    if "patch_px" not in found:
        raise UsageError(f"--overlap {overlap} is in pixels, --patch {patch} in metres", remedy="give both in one unit")
    return found | {"stride_px": found["patch_px"] - shared["overlap_px"]}


def _config(document: dict[str, Any], split: dict[str, Any], ratios: str) -> TileConfig:
    """The options as the pipeline file would hold them.

    Raises:
        UsageError: Ratios that are no three numbers.
        ConfigError: A value out of range.
    """
    from landcover_cli.config.labels import TileConfig
    from landcover_cli.config.pipeline import parse_section

    try:
        shares = [float(part) for part in ratios.split(":")]
    except ValueError:
        raise UsageError(f"--ratios {ratios!r} are no numbers", remedy="write e.g. --ratios 5:3:2") from None
    return parse_section(TileConfig, document | {"split": split | {"ratios": shares}}, "tile", "lc tile")
