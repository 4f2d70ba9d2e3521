"""Step: reference labels as class indices on the tiles of the product grid."""

from __future__ import annotations

from pathlib import Path

from landcover_cli.core.grid import ProductGrid, Tile
from landcover_cli.core.plan import PlanContext, Step
from landcover_cli.core.unit import Inputs, RunContext, Unit

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
        files = {"aoi": region.aoi_file, "legend": str(ctx.path(section.legend, region))}
        files |= label_files("labels", ctx.path(section.source, region))
        if section.crosswalk is not None:
            files["crosswalk"] = str(ctx.path(section.crosswalk, region))
        params = {
            "labels": section.model_dump(mode="json", exclude={"source", "legend", "crosswalk"}),
            "grid": ctx.grid.to_dict(),
        }
        units += [
            Unit("labels", f"{region.name}/{tile.id}", {**params, "tile_id": tile.id}, files) for tile in region.tiles
        ]
    return units


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
    from landcover_cli.io.labelsource import LabelSource, no_label_pixel, write_labels
    from landcover_cli.io.legendfile import read_crosswalk, read_legend, write_legend
    from landcover_cli.io.vector import aoi_on_grid, read_aoi

    section, grid = unit.params["labels"], ProductGrid(**unit.params["grid"])
    legend = read_legend(inputs.file("legend"))
    crosswalk = read_crosswalk(inputs.file("crosswalk"), legend) if "crosswalk" in inputs.files else None
    source = LabelSource(
        path=inputs.file("labels"),
        legend=legend,
        crosswalk=crosswalk,
        attribute=section["attribute"],
        layer=section["layer"],
        ignore=tuple(section["ignore"]),
        rule=section["rule"],
    )
    aoi = aoi_on_grid(read_aoi(inputs.file("aoi")), grid.crs)
    geobox = grid.geobox(Tile.parse(unit.params["tile_id"]))

    facts = write_labels(out / "labels.tif", geobox, legend, lambda part: source.read(part, aoi), ctx.progress)
    if facts.total_px == 0:
        bounds = source.bounds_on(grid.crs)
        if bounds is None or not shapely.box(*bounds).intersects(aoi):
            raise no_label_pixel(source, geobox)
    write_legend(out / "legend.json", legend)
    (out / "counts.json").write_text(pretty_json(facts.to_dict(legend)), encoding="utf-8")


STEP = Step(name="labels", title="Labels on the grid", version=1, plan=plan, run=run)
