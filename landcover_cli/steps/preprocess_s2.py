"""Step: Sentinel-2 scenes as observations on the product grid."""

from __future__ import annotations

import glob
import logging
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landcover_cli.core.grid import Tile
from landcover_cli.core.plan import PlanContext, Region, Step
from landcover_cli.core.types import Asset, Scene
from landcover_cli.core.unit import Inputs, RunContext, Unit, UnitRef
from landcover_cli.errors import InputError

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from landcover_cli.config.sources import Sentinel2Source

_log = logging.getLogger("lc")
Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class PlannedScene:
    """A scene that a region uses.

    Attributes:
        scene: Its metadata.
        product: SAFE folder or zip; None for a STAC item.
        ground: Footprint in the grid's CRS.
        ref: The unit that makes its observation.
    """

    scene: Scene
    product: Path | None
    ground: BaseGeometry
    ref: UnitRef


def plan(ctx: PlanContext) -> list[Unit]:
    """One unit per region, source and scene that touches the region's tiles within its periods."""
    units = []
    for region in ctx.regions:
        for name, source in ctx.config.sources.items():
            # One by one, because mypy narrows that.
            if source.type != "sentinel2_l2a" and source.type != "sentinel2_l1c":  # noqa: PLR1714
                continue
            params = _params(ctx, region, name, source)
            for planned in scenes_of(ctx, region, name, source):
                files = _files(planned, source)
                own = _told(planned.scene) if planned.product is None and "item" not in files else {}
                units.append(Unit("preprocess_s2", planned.ref.id, {**params, **own}, files))
    return units


def scenes_of(ctx: PlanContext, region: Region, name: str, source: Sentinel2Source) -> tuple[PlannedScene, ...]:
    """Scenes of a source that a region uses, sorted by time and id; found once per plan.

    Raises:
        InputError: A product is unreadable, or the source has none at all for the region.
    """
    key = ("scenes", region.name, name)
    if key not in ctx.cache:
        ctx.cache[key] = _find(ctx, region, name, source)
    found: tuple[PlannedScene, ...] = ctx.cache[key]
    return found


def _find(ctx: PlanContext, region: Region, name: str, source: Sentinel2Source) -> tuple[PlannedScene, ...]:
    import shapely

    candidates = _candidates(ctx, region, name, source)
    area = shapely.box(*area_of(ctx, region))
    found: dict[str, PlannedScene] = {}
    cloudy = 0
    for scene, product in candidates:
        if not any(period.contains(scene.datetime) for period in region.periods):
            continue
        ground = footprint_on(scene, ctx.grid.crs)
        if not ground.intersects(area):
            continue
        cloud = scene.metadata.get("cloud_percent")
        if cloud is not None and cloud > source.max_cloud_percent:
            cloudy += 1
            continue
        if scene.id in found:
            raise InputError(
                f"source {name!r}: scene {scene.id} is given twice ({product})", remedy="remove one of the two"
            )
        ref = UnitRef("preprocess_s2", f"{region.name}/{name}/{scene.id}")
        found[scene.id] = PlannedScene(scene, product, ground, ref)
    if cloudy:
        _log.info("%s/%s: %d scenes left out above %g %% cloud", region.name, name, cloudy, source.max_cloud_percent)
    if not found:
        detail = f"{len(candidates)} scenes known, {cloudy} too cloudy"
        absent(region, name, source.optional, detail if candidates else unmatched(source.scenes))
    return tuple(sorted(found.values(), key=lambda item: (item.scene.datetime, item.scene.id)))


def absent(region: Region, name: str, optional: bool, detail: str) -> None:
    """A source without any observation in a region: recorded where it is optional, else an error.

    Raises:
        InputError: Names source, AOI and period.
    """
    periods = region.periods
    span = f"{periods[0].start} to {periods[-1].end - timedelta(days=1)}" if periods else "any time"
    text = f"source {name!r} has no observation over {region.aoi_file} from {span} ({detail})"
    if not optional:
        raise InputError(text, remedy="check the source's files and the period, or mark the source `optional: true`")
    _log.warning("%s; region %s goes on without it", text, region.name)


def _candidates(
    ctx: PlanContext, region: Region, name: str, source: Sentinel2Source
) -> list[tuple[Scene, Path | None]]:
    if source.stac is not None:
        from landcover_cli.io.stac_in import read_stac
        from landcover_cli.sensors.sentinel2 import SENSOR

        href = source.stac if "://" in source.stac else str(ctx.path(source.stac, region))
        key: Any = ("stac", href)
        if key not in ctx.cache:
            ctx.cache[key] = read_stac(href, SENSOR)
        return [(scene, None) for scene in ctx.cache[key]]
    from landcover_cli.io.safe_s2 import read_safe_s2

    paths = expand(ctx, region, name, source.scenes)
    for path in paths:
        if ("safe", path) not in ctx.cache:
            ctx.cache["safe", path] = read_safe_s2(path, "L2A" if source.type == "sentinel2_l2a" else "L1C")
    return [(ctx.cache["safe", path], path) for path in paths]


def expand(ctx: PlanContext, region: Region, name: str, patterns: tuple[str, ...]) -> list[Path]:
    """Files behind the globs of a source, sorted, each once."""
    found: set[Path] = set()
    for pattern in patterns:
        text = str(ctx.path(pattern, region))
        # The folder of the pipeline file is no pattern, whatever letters it has.
        if text.startswith(f"{ctx.base}{os.sep}"):
            text = glob.escape(str(ctx.base)) + text[len(str(ctx.base)) :]
        matches = glob.glob(text, recursive=True)  # noqa: PTH207  the pattern may be absolute
        if not matches:
            _log.warning("source %r: nothing matches %s", name, ctx.path(pattern, region))
        found.update(Path(os.path.normpath(match)) for match in matches)
    return sorted(found)


def unmatched(patterns: tuple[str, ...]) -> str:
    """What to say where a source's globs match nothing."""
    return f"nothing matches {', '.join(patterns)}" if patterns else "the catalogue holds no scene"


def area_of(ctx: PlanContext, region: Region) -> Bounds:
    """Bounds of the tiles that a region's cubes cover."""
    edges = [ctx.grid.tile_bounds_m(tile) for tile in region.context_tiles]
    return (
        min(e[0] for e in edges),
        min(e[1] for e in edges),
        max(e[2] for e in edges),
        max(e[3] for e in edges),
    )


def footprint_on(scene: Scene, crs: str) -> BaseGeometry:
    """A scene's footprint in the grid's CRS.

    Raises:
        InputError: The footprint is no polygon.
    """
    import pyproj
    import shapely
    import shapely.geometry

    try:
        outline = shapely.geometry.shape(scene.footprint)
    except (LookupError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError) as error:
        raise InputError(f"scene {scene.id}: its footprint is no geometry ({error})", remedy="mend it") from None
    to_grid = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    # Edges of 110 km bend by hundreds of metres between two projections; pieces of 0.1° do not.
    fine = shapely.segmentize(outline, 0.1)
    ground = shapely.transform(fine, to_grid.transform, interleaved=False)
    if ground.is_valid:
        return ground
    return shapely.make_valid(ground)


def touches(planned: PlannedScene, ctx: PlanContext, tile: Tile) -> bool:
    """Whether a scene's footprint shares ground with a tile: a pixel at least, because footprints are rounded."""
    import shapely

    left, bottom, right, top = ctx.grid.tile_bounds_m(tile)
    pixel = ctx.grid.resolution_m
    return bool(planned.ground.intersects(shapely.box(left + pixel, bottom + pixel, right - pixel, top - pixel)))


def _params(ctx: PlanContext, region: Region, name: str, source: Sentinel2Source) -> dict[str, Any]:
    keys = {"type", "bands", "mask", "mask_options", "resampling", "offset", "nbar", "resolution_m"}
    return {
        "sources": {name: source.model_dump(mode="json", include=keys)},
        "grid": ctx.grid.to_dict(),
        "area_m": list(area_of(ctx, region)),
    }


def _files(planned: PlannedScene, source: Sentinel2Source) -> dict[str, str]:
    from landcover_cli.io.safe_s2 import require_bands
    from landcover_cli.registry import load

    scene = planned.scene
    names = (*source.bands, *load("mask", source.mask).layer_names(source.bands, source.mask_options))
    if planned.product is not None:
        require_bands(scene, names, str(planned.product))
        return {"product": str(planned.product)}
    require_bands(scene, names, f"STAC item {scene.id}")
    files = {"item": scene.metadata["item"]} if scene.metadata["item"] else {}
    for band in names:
        href = scene.assets[band].href
        files[band] = href
        # The georeference of some files is in a sidecar, and decides the result as much as the pixels do.
        if "://" not in href and Path(f"{href}.aux.xml").is_file():
            files[f"{band}.aux"] = f"{href}.aux.xml"
    return files


def _told(scene: Scene) -> dict[str, Any]:
    """What an item says that has no file of its own: the list that holds it changes with its other items."""
    metadata = {key: value for key, value in sorted(scene.metadata.items()) if key != "item"}
    when = scene.datetime.isoformat()
    return {"scene": {"id": scene.id, "datetime": when, "footprint": dict(scene.footprint), "metadata": metadata}}


def run(unit: Unit, inputs: Inputs, out: Path, ctx: RunContext) -> None:
    """Write ``data.tif``, ``mask.tif`` and ``observation.json`` of one scene."""
    from landcover_cli.io.preprocess_s2 import S2Settings, preprocess_s2
    from landcover_cli.registry import load

    ((_, section),) = unit.params["sources"].items()
    grid = unit.params["grid"]
    settings = S2Settings(
        crs=grid["crs"],
        gsd_m=section["resolution_m"] or grid["resolution_m"],
        area_m=tuple(unit.params["area_m"]),
        bands=tuple(section["bands"]),
        mask=load("mask", section["mask"]),
        mask_options=section["mask_options"],
        resampling=section["resampling"],
        offset=section["offset"],
        nbar=section["nbar"],
    )
    preprocess_s2(_scene(unit, inputs), settings, out, ctx.check)


def _scene(unit: Unit, inputs: Inputs) -> Scene:
    if "product" in inputs.files:
        from landcover_cli.io.safe_s2 import read_safe_s2

        return read_safe_s2(inputs.file("product"), None)
    from landcover_cli.io.stac_in import read_item
    from landcover_cli.sensors.sentinel2 import SENSOR

    if "item" not in inputs.files:
        told = unit.params["scene"]
        assets = {name: Asset(href) for name, href in inputs.files.items() if not name.endswith(".aux")}
        when = datetime.fromisoformat(told["datetime"])
        return Scene(told["id"], SENSOR.name, when, told["footprint"], assets, told["metadata"])
    return read_item(inputs.files["item"], SENSOR)


STEP = Step(name="preprocess_s2", title="Sentinel-2 scenes", version=1, plan=plan, run=run)
