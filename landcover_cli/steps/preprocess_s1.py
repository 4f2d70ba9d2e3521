"""Step: raw Sentinel-1 products as observations on the product grid; GRD slices of one pass become one observation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landcover_cli.core.plan import PlanContext, Region, Step
from landcover_cli.core.types import Scene
from landcover_cli.core.unit import Inputs, RunContext, Unit, UnitRef
from landcover_cli.errors import InputError
from landcover_cli.steps.preprocess_s2 import PlannedScene, absent, area_of, expand, footprint_on, unmatched

if TYPE_CHECKING:
    from landcover_cli.config.sources import Sentinel1Source
    from landcover_cli.io.safe_s1 import S1Product

NAME = "preprocess_s1"
_KINDS = ("auto", "ellipsoidal", "egm96", "egm2008")
# Slices of one pass follow each other within the rounding of their names' times, or overlap by some lines.
_GAP_S = 2.0


@dataclass(frozen=True)
class PlannedPass:
    """One observation to make.

    Attributes:
        products: Consecutive slices that touch the area, in the order of time.
        planned: What composites need to know.
    """

    products: tuple[S1Product, ...]
    planned: PlannedScene


def plan(ctx: PlanContext) -> list[Unit]:
    """One unit per region, source and pass that touches the region's tiles within its periods."""
    units = []
    for region in ctx.regions:
        for name, source in ctx.config.sources.items():
            if source.type != "sentinel1_grd" and source.type != "sentinel1_slc":  # noqa: PLR1714  mypy narrows this
                continue
            params = _params(ctx, region, name, source)
            terrain = _terrain(ctx, region, source)
            for item in _passes(ctx, region, name, source):
                files = {f"product/{n}": str(product.path) for n, product in enumerate(item.products)}
                files |= terrain | _orbit(ctx, region, source, item.products)
                units.append(Unit(NAME, item.planned.ref.id, params, files))
    return units


def scenes_of(ctx: PlanContext, region: Region, name: str, source: Sentinel1Source) -> tuple[PlannedScene, ...]:
    """Passes of a source that a region uses, sorted by time and id; found once per plan.

    Raises:
        InputError: A product is unreadable or lacks a polarisation, orbit directions are mixed unasked, or the source
            has nothing at all for the region.
    """
    return tuple(item.planned for item in _passes(ctx, region, name, source))


def _passes(ctx: PlanContext, region: Region, name: str, source: Sentinel1Source) -> tuple[PlannedPass, ...]:
    key = ("passes", region.name, name)
    if key not in ctx.cache:
        ctx.cache[key] = _find(ctx, region, name, source)
    found: tuple[PlannedPass, ...] = ctx.cache[key]
    return found


def _find(ctx: PlanContext, region: Region, name: str, source: Sentinel1Source) -> tuple[PlannedPass, ...]:
    import shapely

    area = shapely.box(*area_of(ctx, region))
    used: dict[str, tuple[S1Product, Any]] = {}
    paths = expand(ctx, region, name, source.scenes)
    for path in paths:
        product = _open(ctx, path)
        scene = _scene(product)
        direction = product.meta.pass_direction.lower()
        if source.orbit not in (None, "both", direction):
            continue
        if not any(period.contains(scene.datetime) for period in region.periods):
            continue
        ground = footprint_on(scene, ctx.grid.crs)
        if not ground.intersects(area):
            continue
        if scene.id in used:
            raise InputError(
                f"source {name!r}: product {scene.id} is given twice ({path})", remedy="remove one of the two"
            )
        _check_polarisations(name, product, source)
        used[scene.id] = product, ground
    if not used:
        absent(region, name, source.optional, f"{len(paths)} products known" if paths else unmatched(source.scenes))
    _check_directions(name, [product for product, _ in used.values()], source)
    # An SLC is an observation of its own; where two of one data take overlap, composites count them once.
    groups = _slices(list(used.values())) if source.type == "sentinel1_grd" else [[item] for item in used.values()]
    passes = [_planned(region, name, group) for group in groups]
    return tuple(sorted(passes, key=lambda item: (item.planned.scene.datetime, item.planned.scene.id)))


def _open(ctx: PlanContext, path: Path) -> S1Product:
    from landcover_cli.io.safe_s1 import open_s1_product

    if ("safe_s1", path) not in ctx.cache:
        ctx.cache["safe_s1", path] = open_s1_product(path)
    product: S1Product = ctx.cache["safe_s1", path]
    return product


def _scene(product: S1Product) -> Scene:
    """Metadata of a product as composites know scenes.

    Raises:
        InputError: The manifest gives no footprint.
    """
    corners = [list(corner) for corner in product.meta.footprint_lonlat]
    if len(corners) < 4:
        raise InputError(
            f"{product.meta.product_id}: the manifest gives no footprint", remedy="download the product again"
        )
    when = product.meta.start.astype("datetime64[us]").item()
    assert isinstance(when, datetime)
    return Scene(
        id=product.meta.product_id,
        sensor="sentinel1",
        datetime=when.replace(tzinfo=UTC),
        footprint={"type": "Polygon", "coordinates": [[*corners, corners[0]]]},
        assets={},
        metadata={"orbit_direction": product.meta.pass_direction.lower()},
    )


def _check_polarisations(name: str, product: S1Product, source: Sentinel1Source) -> None:
    missing = [p for p in source.polarisations if p not in product.polarisations]
    kind = "SLC" if source.type == "sentinel1_slc" else "GRD"
    if product.meta.product_type != kind:
        raise InputError(
            f"source {name!r}: {product.meta.product_id} is of type {product.meta.product_type}; {source.type} takes "
            f"{kind} products",
            remedy=f"leave it out of sources.{name}.scenes, or make a source of type sentinel1_grd or sentinel1_slc",
        )
    if missing:
        what = f"has no polarisation {missing[0]}"
        raise InputError(
            f"source {name!r}: {product.meta.product_id} {what} (it holds {', '.join(product.polarisations)})",
            remedy=f"leave it out of sources.{name}.scenes, or change sources.{name}.polarisations",
        )


def _check_directions(name: str, products: Sequence[S1Product], source: Sentinel1Source) -> None:
    directions = {product.meta.pass_direction.lower(): product.meta.product_id for product in products}
    if source.orbit is None and len(directions) > 1:
        said = " and ".join(f"{direction} ({example})" for direction, example in sorted(directions.items()))
        raise InputError(
            f"source {name!r} holds passes of both directions: {said}; hills look different from either side",
            remedy=f"make two sources, one with orbit: ascending and one with orbit: descending, or set "
            f"sources.{name}.orbit: both to composite them together",
        )


def _slices(found: list[tuple[S1Product, Any]]) -> list[list[tuple[S1Product, Any]]]:
    """Products of one data take that follow each other without a gap."""
    groups: list[list[tuple[S1Product, Any]]] = []
    for product, ground in sorted(found, key=lambda item: (item[0].meta.mission, item[0].meta.start)):
        meta = product.meta
        last = groups[-1][-1][0].meta if groups else None
        if last is not None and (last.mission, last.datatake_id, last.absolute_orbit) == (
            meta.mission,
            meta.datatake_id,
            meta.absolute_orbit,
        ):
            # The same ground processed twice is not a slice that follows.
            gap = (meta.start - last.stop).astype("timedelta64[ms]").astype(int) / 1000.0
            if -_GAP_S < gap < _GAP_S and last.ipf_version == meta.ipf_version:
                groups[-1].append((product, ground))
                continue
        groups.append([(product, ground)])
    return groups


def _planned(region: Region, name: str, group: list[tuple[S1Product, Any]]) -> PlannedPass:
    from dataclasses import replace

    import shapely

    from landcover_cli.io.s1_prepare import pass_id

    products = tuple(product for product, _ in group)
    own = pass_id([product.meta.product_id for product in products])
    scene = replace(_scene(products[0]), id=own)
    ground = shapely.union_all([ground for _, ground in group])
    return PlannedPass(products, PlannedScene(scene, None, ground, UnitRef(NAME, f"{region.name}/{name}/{own}")))


def _params(ctx: PlanContext, region: Region, name: str, source: Sentinel1Source) -> dict[str, Any]:
    keys = {"type", "backscatter", "speckle", "speckle_options", "polarisations", "denoise", "layers", "resolution_m"}
    if source.type == "sentinel1_slc":
        keys |= {"looks", "c2_window_px"}
    section = source.model_dump(mode="json", include=keys)
    section["polarimetry"] = polarimetric_bands(source.polarimetry)
    section["bistatic"] = source.bistatic
    # Files enter by their content; what is no file enters by name.
    section["dem"] = source.dem if source.dem.startswith("flat:") else "file"
    section["dem_height"] = source.dem_height if source.dem_height in _KINDS else "file"
    return {"sources": {name: section}, "grid": ctx.grid.to_dict(), "area_m": list(area_of(ctx, region))}


def _terrain(ctx: PlanContext, region: Region, source: Sentinel1Source) -> dict[str, str]:
    """Files of the DEM and of the geoid grid that its heights need.

    Raises:
        InputError: The DEM is missing, says no CRS or datum, or its geoid grid is not installed.
    """
    from landcover_cli.io.dem import open_dem
    from landcover_cli.io.geoid import find_geoid

    flat = source.dem.startswith("flat:")
    dem_path = source.dem if flat else str(ctx.path(source.dem, region))
    own = source.dem_height not in _KINDS
    height = str(ctx.path(source.dem_height, region)) if own else source.dem_height
    folders = _geoid_folders(ctx, region, source)
    key = ("dem", dem_path, height, folders)
    if key not in ctx.cache:
        dem = open_dem(dem_path, height, geoid_dirs=folders)
        files = {} if flat else {"dem": dem_path}
        if own:
            files["geoid"] = height
        elif dem.geoid is not None:
            files["geoid"] = str(find_geoid(dem.height_kind, folders))
        # A VRT is text that names its tiles: they decide the heights as much.
        parts = sorted({part for sheet in dem.sheets for tile in sheet.tiles for part in _vrt_parts(tile.path)})
        ctx.cache[key] = files | {f"dem/{n}": part for n, part in enumerate(parts)}
    found: dict[str, str] = ctx.cache[key]
    return found


def _geoid_folders(ctx: PlanContext, region: Region, source: Sentinel1Source) -> tuple[Path, ...]:
    if source.geoid is None:
        return ()
    folder = ctx.path(source.geoid, region)
    if not folder.is_dir():
        raise InputError(
            f"geoid {folder} is no folder", remedy="give the folder that `lc fetch geoid` wrote to, or leave it out"
        )
    return (folder,)


def polarimetric_bands(names: Sequence[str]) -> list[str]:
    """Bands that `polarimetry` adds to a cube: groups replaced by what they hold, each band once."""
    if not names:
        return []
    from landcover_cli.sar.pollayers import expand_groups

    return list(expand_groups(names))


def _vrt_parts(path: str) -> list[str]:
    if not path.lower().endswith(".vrt"):
        return []
    import rasterio

    with rasterio.open(path) as dataset:
        return [part for part in dataset.files[1:] if Path(part).is_file()]


def _orbit(ctx: PlanContext, region: Region, source: Sentinel1Source, products: Sequence[S1Product]) -> dict[str, str]:
    if source.orbits is None:
        return {}
    from landcover_cli.io.eof import select_orbit_file

    path = ctx.path(source.orbits, region)
    if not path.is_file():
        first, last = products[0].meta, products[-1].meta
        path = select_orbit_file(path, first.mission, first.start, last.stop).path
    return {"orbit": str(path)}


def run(unit: Unit, inputs: Inputs, out: Path, ctx: RunContext) -> None:
    """Write ``data.tif``, ``mask.tif``, ``observation.json`` and the layers of one pass."""
    from landcover_cli.io.preprocess_s1 import S1Execution, preprocess_s1
    from landcover_cli.io.s1_prepare import S1Settings, prepare_s1
    from landcover_cli.io.safe_s1 import open_s1_product

    ((_, section),) = unit.params["sources"].items()
    grid = unit.params["grid"]
    geoid = inputs.files.get("geoid")
    height = section["dem_height"]
    settings = S1Settings(
        dem=inputs.files["dem"] if section["dem"] == "file" else section["dem"],
        dem_height=str(geoid) if height == "file" else height,
        geoid_dirs=(Path(geoid).parent,) if geoid else (),
        orbits=inputs.file("orbit") if "orbit" in inputs.files else None,
        backscatter=section["backscatter"],
        speckle=section["speckle"],
        speckle_options=section["speckle_options"],
        polarisations=tuple(section["polarisations"]),
        denoise=section["denoise"],
        layers=tuple(section["layers"]),
        bistatic=section["bistatic"],
        polarimetry=tuple(section["polarimetry"]),
        looks=tuple(section.get("looks", (1, 4))),
        c2_window_px=section.get("c2_window_px", 5),
        crs=grid["crs"],
        gsd_m=section["resolution_m"] or grid["resolution_m"],
        area_m=tuple(unit.params["area_m"]),
        may_miss=True,
    )
    paths = [Path(path) for key, path in sorted(inputs.files.items()) if key.startswith("product/")]
    prepared = prepare_s1([open_s1_product(path) for path in paths], settings)
    preprocess_s1(prepared, out, S1Execution(ctx.threads, ctx.memory_bytes, progress=ctx.progress, check=ctx.check))


STEP = Step(name=NAME, title="Sentinel-1 products", version=2, plan=plan, run=run)
