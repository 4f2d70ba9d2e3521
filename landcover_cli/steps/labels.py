"""Step: reference labels as class indices on the tiles of the product grid."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landcover_cli.core.grid import ProductGrid, Tile
from landcover_cli.core.plan import PlanContext, Region, Step
from landcover_cli.core.types import Period
from landcover_cli.core.unit import Inputs, RunContext, Unit

if TYPE_CHECKING:
    from landcover_cli.io.labelsource import LabelSource
    from landcover_cli.labels.legend import Legend

log = logging.getLogger("lc")
SIDECARS = (".dbf", ".prj", ".shx", ".cpg")


def plan(ctx: PlanContext) -> list[Unit]:
    """One unit per tile of every region that labels are taken from."""
    section = ctx.config.labels
    if section is None:
        return []
    units = []
    for region in ctx.regions:
        if not region.labelled:
            continue
        files = {"aoi": region.aoi_file, "legend": str(known_or_file(ctx, "legends", section.legend, region))}
        for number, part in enumerate((section, *section.others)):
            files |= label_files(f"labels{number or ''}", ctx.path(part.source, region))
            if part.crosswalk is not None:
                files[f"crosswalk{number or ''}"] = str(known_or_file(ctx, "crosswalks", part.crosswalk, region))
        elsewhere = {"source", "crosswalk"}  # their content counts, not where they lie
        params: dict[str, Any] = {
            "labels": section.model_dump(
                mode="json",
                exclude={"source": True, "legend": True, "crosswalk": True, "others": {"__all__": elsewhere}},
            ),
            "grid": ctx.grid.to_dict(),
        }
        dated = any(part.valid_from or part.valid_to for part in (section, *section.others))
        if dated and region.periods:
            params["period"] = [region.periods[0].start.isoformat(), region.periods[-1].end.isoformat()]
        units += [
            Unit("labels", f"{region.name}/{tile.id}", {**params, "tile_id": tile.id}, files) for tile in region.tiles
        ]
    return units


def known_or_file(ctx: PlanContext, kind: str, text: str, region: Region) -> Path:
    """A legend or crosswalk: one of those that come with lc (``lc:NAME``), or a file.

    Raises:
        ConfigError: No legend or crosswalk of that name comes with lc.
    """
    from landcover_cli.labels.shipped import shipped

    return shipped(kind, text) or ctx.path(text, region)


def label_files(name: str, path: Path) -> dict[str, str]:
    """A label file and the files that belong to it, so that a change in any of them is seen."""
    files = {name: str(path)}
    if path.suffix.lower() == ".shp":
        beside = [path.with_suffix(suffix) for suffix in SIDECARS]
        files |= {f"{name}{item.suffix}": str(item) for item in beside if item.exists()}
    return files


def run(unit: Unit, inputs: Inputs, out: Path, ctx: RunContext) -> None:
    """Write ``labels.tif``, ``legend.json`` and ``counts.json`` of one tile, cut to the AOI (pixel centres inside)."""
    import shapely

    from landcover_cli.core.digest import pretty_json
    from landcover_cli.io.labellayers import LabelLayers, write_layers
    from landcover_cli.io.labelsource import no_label_pixel
    from landcover_cli.io.legendfile import read_legend, write_legend
    from landcover_cli.io.vector import aoi_on_grid, read_aoi

    section, grid = unit.params["labels"], ProductGrid(**unit.params["grid"])
    legend = read_legend(inputs.file("legend"))
    parts = [section, *section["others"]]
    layers = LabelLayers(
        tuple(_source(part, f"{number or ''}", inputs, legend, unit) for number, part in enumerate(parts))
    )
    aoi = aoi_on_grid(read_aoi(inputs.file("aoi")), grid.crs)
    geobox = grid.geobox(Tile.parse(unit.params["tile_id"]))

    facts = write_layers(out / "labels.tif", geobox, layers, aoi, ctx.progress)
    if facts.total_px == 0:
        every = [source.bounds_on(grid.crs) for source in layers.sources]
        if not any(bounds is not None and shapely.box(*bounds).intersects(aoi) for bounds in every):
            raise no_label_pixel(layers.sources[0], geobox)
    record = facts.to_dict(legend)
    if len(layers.sources) > 1:
        record["sources"] = layers.to_list()
    for text in facts.warnings():
        log.warning("labels of %s: %s", unit.id, text)
    write_legend(out / "legend.json", legend)
    (out / "counts.json").write_text(pretty_json(record), encoding="utf-8")


def _source(part: Mapping[str, Any], suffix: str, inputs: Inputs, legend: Legend, unit: Unit) -> LabelSource:
    """One file of labels with its settings."""
    from landcover_cli.io.labelsource import LabelSource
    from landcover_cli.io.legendfile import read_crosswalk

    crosswalk = f"crosswalk{suffix}"
    period = unit.params.get("period")
    return LabelSource(
        path=inputs.file(f"labels{suffix}"),
        legend=legend,
        crosswalk=read_crosswalk(inputs.file(crosswalk), legend) if crosswalk in inputs.files else None,
        attribute=part["attribute"],
        layer=part["layer"],
        ignore=tuple(part["ignore"]),
        rule=part["rule"],
        weight=part["weight"],
        weight_attribute=part["weight_attribute"],
        valid_from=part["valid_from"],
        valid_to=part["valid_to"],
        period=Period(*(date.fromisoformat(day) for day in period)) if period else None,
    )


STEP = Step(name="labels", title="Labels on the grid", version=1, plan=plan, run=run)
