"""`lc preprocess`: scenes as observations on a grid."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landcover_cli.cli import options
from landcover_cli.cli.preprocess_hyperspectral import hyperspectral
from landcover_cli.cli.preprocess_optical import landsat, s2
from landcover_cli.cli.preprocess_raster import raster
from landcover_cli.cli.preprocess_rtc import rtc
from landcover_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from landcover_cli.io.preprocess_s1 import S1Execution
    from landcover_cli.io.s1_output import S1Output
    from landcover_cli.io.s1_prepare import PreparedS1, S1Settings
    from landcover_cli.io.safe_s1 import S1Product

log = logging.getLogger("lc")

POLARISATIONS = ("VV", "VH", "HH", "HV")
DATUMS = ("auto", "ellipsoidal", "egm96", "egm2008")
LOOKS = "1,4"


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    group = typer.Typer(no_args_is_help=True, help="Bring scenes to a grid: radiometry, mask, geometry.")
    group.command("s2")(s2)
    group.command("landsat")(landsat)
    group.command("hyperspectral")(hyperspectral)
    group.command("raster")(raster)
    group.command("s1")(s1)
    group.command("rtc")(rtc)
    app.add_typer(group, name="preprocess")


Products = Annotated[
    list[Path],
    typer.Argument(help="GRD or SLC products: SAFE folders, COG_SAFE folders or zips.", metavar="PRODUCT..."),
]
Dem = Annotated[str, typer.Option(help="Terrain: a raster, a VRT, a folder of tiles, or flat:H for one height in m.")]
DemHeight = Annotated[
    str,
    typer.Option(
        metavar="auto|ellipsoidal|egm96|egm2008|FILE",
        help="What the DEM's heights are counted from; auto: what the file says; FILE: a geoid grid.",
    ),
]
Orbits = Annotated[
    Path | None, typer.Option(help="Folder of POEORB and RESORB files; default: the annotation's orbit.")
]
BackscatterOpt = Annotated[
    str, typer.Option(help="gamma0_rtc (terrain-flattened), or gamma0, sigma0, beta0 of the ellipsoid.")
]
Speckle = Annotated[str, typer.Option(help="Speckle filter (see `lc plugins`), or none.")]
SpeckleOption = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="Parameter of the filter, e.g. looks=4.4.")
]
Polarisation = Annotated[
    list[str] | None, typer.Option(help="VV, VH, HH, HV; several by commas or repeated; default: all.")
]
DenoiseOpt = Annotated[str, typer.Option(help="Thermal noise: auto, force or off.")]
Looks = Annotated[str, typer.Option(metavar="LINES,SAMPLES", help="Lines and samples of an SLC to average.")]
LayersOpt = Annotated[
    list[str] | None,
    typer.Option(
        help="Further rasters, by commas or repeated: incidence; layover_shadow (also marks the mask); of dual "
        "polarisation rvi, dprvic, theta_c, entropy_c; of an SLC also c2, haalpha, dprvi, dop."
    ),
]
Bistatic = Annotated[
    bool,
    typer.Option("--bistatic", help="Take the residual of the processor's bistatic correction into account (≤ 4 m)."),
]
C2Window = Annotated[
    int, typer.Option(min=1, help="Odd edge of the window over which the looks of an SLC's C2 are averaged.")
]
Geoid = Annotated[
    Path | None,
    typer.Option(help="Folder with geoid grids (`lc fetch geoid` writes one), for --dem-height egm96 or egm2008."),
]
Aoi = Annotated[Path | None, typer.Option(help="Polygon file; only its bounds are read.")]
Crs = Annotated[str | None, typer.Option(help="CRS of the grid; default: the UTM zone of the area's centre.")]
Res = Annotated[float | None, typer.Option(min=0.1, help="Pixel edge in metres; default: the product's spacing.")]
Assemble = Annotated[
    bool, typer.Option("--assemble", help="Join the products, consecutive slices of one pass, to one image.")
]
Cog = Annotated[bool, typer.Option("--cog/--no-cog", help="Also write COGs, STAC item and quick-look.")]
ScaleOpt = Annotated[str, typer.Option(help="Of the COGs: linear, db or stretch (8 bits).")]
Limits = Annotated[
    str | None, typer.Option(metavar="LOW,HIGH", help="Ends of the stretch in dB; default: 2nd and 98th percentile.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads; changes no pixel.")]


def s1(
    products: Products,
    dem: Dem,
    out: options.Out,
    dem_height: DemHeight = "auto",
    geoid: Geoid = None,
    orbits: Orbits = None,
    bistatic: Bistatic = False,
    backscatter: BackscatterOpt = "gamma0_rtc",
    speckle: Speckle = "refined_lee",
    speckle_option: SpeckleOption = None,
    polarisation: Polarisation = None,
    denoise: DenoiseOpt = "auto",
    looks: Looks = LOOKS,
    layers: LayersOpt = None,
    c2_window: C2Window = 5,
    aoi: Aoi = None,
    crs: Crs = None,
    res: Res = None,
    assemble: Assemble = False,
    cog: Cog = True,
    scale: ScaleOpt = "linear",
    limits: Limits = None,
    memory: options.Memory = None,
    workers: Threads = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Sentinel-1 products as analysis-ready backscatter: one folder per product below DIR."""
    from landcover_cli.io.s1_prepare import S1Settings
    from landcover_cli.sar.pollayers import expand_groups

    _check_values(dem, dem_height, speckle, speckle_option)
    area_crs, area = _s1_area(aoi, crs)
    settings = S1Settings(
        dem=dem,
        dem_height=dem_height,
        geoid_dirs=_geoid_folder(geoid),
        orbits=orbits,
        bistatic=bistatic,
        backscatter=backscatter,  # type: ignore[arg-type]
        speckle=speckle,
        speckle_options=_numbers(speckle_option or []),
        polarisations=_polarisations(polarisation),
        denoise=denoise,  # type: ignore[arg-type]
        looks=_looks(looks),
        layers=expand_groups(_several(layers, upper=False)),
        c2_window_px=c2_window,
        crs=area_crs,
        gsd_m=res,
        area_m=area,
    )
    output = _s1_output(scale, limits, cog, workers)
    groups = _s1_groups(products, assemble)
    _check_looks(groups, settings.looks)
    how = _execution(memory, workers)
    # All are checked before the first pixel of any.
    todo = [_s1_checked(group, settings, out, output, how) for group in groups]
    records = [record if dry_run or kept else _s1_one(p, record, output, how) for p, record, kept in todo]
    if as_json:
        typer.echo(json.dumps(records, ensure_ascii=False))
        return
    for record, (_, _, kept) in zip(records, todo, strict=True):
        said = "kept, finished before:" if kept else "would write" if dry_run else "wrote"
        typer.echo(f"{said} {record['observation']}")


def _geoid_folder(folder: Path | None) -> tuple[Path, ...]:
    if folder is not None and not folder.is_dir():
        raise InputError(
            f"--geoid {folder} is no folder", remedy="give the folder that `lc fetch geoid` wrote to, or leave it out"
        )
    return () if folder is None else (folder,)


def _s1_checked(
    group: list[S1Product], settings: S1Settings, out: Path, output: S1Output | None, how: S1Execution
) -> tuple[PreparedS1, dict[str, Any], bool]:
    """A product (or pass) that can be processed, what is to be said about it, and whether it was finished before.

    Raises:
        InputError: It cannot be processed, or something else lies where it would go.
    """
    from landcover_cli.io.s1_output import read_deliverables
    from landcover_cli.io.s1_prepare import prepare_s1
    from landcover_cli.io.s1_request import finished_before, with_request

    prepared = with_request(prepare_s1(group, settings, how.block_px), output)
    target = out / prepared.about.id
    kept = finished_before(prepared, target)
    record = _s1_record(prepared, target)
    if kept:
        record["kept"] = True
    if kept and output is not None:
        record["assets"] = read_deliverables(target)
    return prepared, record, kept


def _s1_one(prepared: PreparedS1, record: dict[str, Any], output: S1Output | None, how: S1Execution) -> dict[str, Any]:
    """Write one product (or pass); what is to be said about it."""
    from dataclasses import replace

    from landcover_cli.cli.progress import reporter
    from landcover_cli.io.atomic import atomic_folder, remove_leftovers
    from landcover_cli.io.preprocess_s1 import preprocess_s1
    from landcover_cli.io.s1_output import write_deliverables

    about, target = prepared.about, Path(record["observation"])
    log.debug("%s: %d lines × %d pixels are read", about.id, *prepared.reads_px)
    for name in remove_leftovers(target):
        log.info("removed %s, which a killed process left behind", name)
    with reporter() as watch, atomic_folder(target) as scratch:
        watch.step(about.id, 1, 0)
        preprocess_s1(prepared, scratch, replace(how, progress=watch.within))
        if output is not None:
            record["assets"] = write_deliverables(scratch, prepared.footprint, output)
    return record


def _s1_record(prepared: PreparedS1, target: Path) -> dict[str, Any]:
    about = prepared.about
    height, width = about.lattice.shape_yx
    keys = (
        "products", "orbit", "ipf", "dem", "denoise", "border_noise", "backscatter", "speckle", "orbit_direction",
        "layers", "multilook", "polarimetry", "bistatic",
    )  # fmt: skip
    return {
        "observation": str(target),
        "id": about.id,
        "bands": list(about.bands),
        "crs": about.crs,
        "gsd_m": about.gsd_m,
        "bounds_m": list(about.bounds_m),
        "shape": [height, width],
        "reads_px": list(prepared.reads_px),
        **{key: about.facts[key] for key in keys if key in about.facts},
    }


def _s1_groups(paths: list[Path], assemble: bool) -> list[list[S1Product]]:
    from landcover_cli.io.safe_s1 import open_s1_product

    found = [open_s1_product(path) for path in paths]
    seen: set[str] = set()
    for product in found:
        if product.meta.product_id in seen:
            raise UsageError(f"product {product.meta.product_id} is given twice", remedy="give each product once")
        seen.add(product.meta.product_id)
    return [found] if assemble else [[product] for product in found]


def _s1_area(aoi: Path | None, crs: str | None) -> tuple[str | None, tuple[float, float, float, float] | None]:
    """CRS and bounds of an AOI; without --crs the UTM zone of its centre."""
    if aoi is None:
        return crs, None
    from landcover_cli.core.grid import metric_crs, utm_epsg
    from landcover_cli.io.vector import aoi_on_grid, read_aoi

    area = read_aoi(aoi)
    centre = area.geometry_4326.centroid
    chosen = metric_crs(crs, "--crs") if crs else f"EPSG:{utm_epsg(centre.x, centre.y)}"
    return chosen, aoi_on_grid(area, chosen).bounds


def _s1_output(scale: str, limits: str | None, cog: bool, workers: int | None) -> S1Output | None:
    from landcover_cli.io.s1_output import S1Output

    ends = None
    if limits is not None:
        try:
            low, high = (float(part) for part in limits.split(","))
        except ValueError:
            raise UsageError(f"--limits {limits!r} is not LOW,HIGH", remedy='write e.g. --limits="-25,0"') from None
        ends = low, high
    output = S1Output(scale, ends, threads=workers or 1)  # type: ignore[arg-type]
    return output if cog else None


def _execution(memory: str | None, workers: int | None) -> S1Execution:
    import os

    from landcover_cli.config.runtime import parse_bytes
    from landcover_cli.io.preprocess_s1 import S1Execution

    try:
        room = parse_bytes(memory or "4GB")
    except ValueError as error:
        raise UsageError(f"--memory: {error}", remedy="write e.g. 4GB") from None
    return S1Execution(workers or min(os.cpu_count() or 1, 16), room)


def _several(values: list[str] | None, *, upper: bool = True) -> tuple[str, ...]:
    parts = [part.strip() for value in values or [] for part in value.replace(",", " ").split()]
    return tuple(part.upper() if upper else part for part in parts)


def _polarisations(values: list[str] | None) -> tuple[str, ...]:
    found = _several(values)
    for name in found:
        if name not in POLARISATIONS:
            raise UsageError(
                f"--polarisation {name!r} is none of {', '.join(POLARISATIONS)}", remedy="write e.g. VV or VV,VH"
            )
    return found


def _check_looks(groups: list[list[S1Product]], looks: tuple[int, int]) -> None:
    slc = any(product.meta.product_type == "SLC" for group in groups for product in group)
    if looks != _looks(LOOKS) and not slc:
        raise UsageError(
            f"--looks {looks[0]},{looks[1]} is for SLC products; those given are GRD", remedy="leave --looks out"
        )


def _check_values(dem: str, dem_height: str, speckle: str, speckle_option: list[str] | None) -> None:
    """Refuse option values that no input could make right.

    Raises:
        UsageError: A flat DEM without a height, a datum that is neither a name nor a path, parameters for no filter.
    """
    from landcover_cli.io.dem import open_dem

    if dem.startswith("flat:"):
        try:
            open_dem(dem, "ellipsoidal")
        except InputError as error:
            raise UsageError(error.problem, remedy=error.remedy) from None
    path = Path(dem_height)
    if dem_height not in DATUMS and not path.exists() and path.name == dem_height and not path.suffix:
        raise UsageError(
            f"--dem-height {dem_height!r} is neither one of {', '.join(DATUMS)} nor an existing file",
            remedy="choose one of them, or give the path of a geoid grid (GeoTIFF or GTX)",
        )
    if speckle == "none" and speckle_option:
        raise UsageError(
            f"--speckle-option {speckle_option[0]} with --speckle none",
            remedy="choose a filter, or leave the option out",
        )


def _looks(text: str) -> tuple[int, int]:
    try:
        lines, samples = (int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--looks {text!r} is not LINES,SAMPLES", remedy="write e.g. 1,4") from None
    return lines, samples


def _numbers(values: list[str]) -> dict[str, float | int]:
    """``NAME=VALUE`` … as numbers; whole ones as int.

    Raises:
        UsageError: Not of that form.
    """
    found: dict[str, float | int] = {}
    for text in values:
        name, _, value = text.partition("=")
        try:
            found[name] = int(value) if value.lstrip("-").isdigit() else float(value)
        except ValueError:
            raise UsageError(f"--speckle-option {text!r} is not NAME=NUMBER", remedy="write e.g. looks=4.4") from None
    return found
