"""`lc preprocess hyperspectral`: imaging spectrometers' cubes as observations on a grid."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landcover_cli.cli import options
from landcover_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from landcover_cli.io.hyperspectral import HyperCube
    from landcover_cli.io.preprocess_hyperspectral import HyperSettings

log = logging.getLogger("lc")


def hyperspectral(
    files: Annotated[
        list[Path], typer.Argument(help="ENVI cubes (header or data file) or GeoTIFFs.", metavar="FILE...")
    ],
    out: options.Out,
    aoi: Annotated[Path | None, typer.Option(help="Polygon file; only its bounds are read.")] = None,
    crs: Annotated[str | None, typer.Option(help="CRS of the grid; default: the first file's.")] = None,
    res: Annotated[float | None, typer.Option(min=0.1, help="Pixel edge in metres; default: the first file's.")] = None,
    wavelengths: Annotated[
        str, typer.Option(metavar="A-B,C-D", help="Wavelengths to keep in nm, e.g. 400-1340,1460-1790; default: all.")
    ] = "",
    keep_bad_bands: Annotated[bool, typer.Option(help="Keep the bands of the file's bad-band list.")] = False,
    scale: Annotated[
        float | None, typer.Option(help="Reflectance per number, e.g. 0.0001; default: what the file says.")
    ] = None,
    nodata: Annotated[float | None, typer.Option(help="Value that means nothing; default: what the file says.")] = None,
    date: Annotated[
        str, typer.Option(metavar="YYYY-MM-DD", help="Day of the acquisition, where header and name say none.")
    ] = "",
    resampling: Annotated[str, typer.Option(help="How pixels come to the grid: bilinear or nearest.")] = "bilinear",
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Hyperspectral cubes as observations: DIR/<file>/data.tif, mask.tif and observation.json."""
    from landcover_cli.io.atomic import atomic_folder
    from landcover_cli.io.hyperspectral import read_cube
    from landcover_cli.io.preprocess_hyperspectral import chosen_bands, preprocess_hyperspectral

    cubes = [read_cube(path) for path in files]
    settings = cube_settings(cubes[0], aoi, crs, res, (wavelengths, keep_bad_bands, scale, nodata, date, resampling))
    check_cubes(cubes, settings)
    records: list[dict[str, Any]] = []
    for cube in cubes:
        bands = chosen_bands(cube, settings)
        target = out / cube.id
        records.append({"cube": cube.id, "observation": str(target), "bands": [band.name for band in bands]})
        if not dry_run:
            log.info("%s: %d of %d bands", cube.id, len(bands), len(cube.bands))
            with atomic_folder(target) as scratch:
                preprocess_hyperspectral(cube, settings, scratch)
    if as_json:
        typer.echo(json.dumps(records, ensure_ascii=False))
        return
    for record in records:
        typer.echo(f"{'would write' if dry_run else 'wrote'} {record['observation']} ({len(record['bands'])} bands)")


def cube_settings(
    first: HyperCube,
    aoi: Path | None,
    crs: str | None,
    res: float | None,
    more: tuple[str, bool, float | None, float | None, str, str],
) -> HyperSettings:
    """Grid and bands as asked.

    Args:
        first: The first cube; says CRS, pixel size and area where nothing else does.
        aoi: Polygon file.
        crs: CRS of the grid.
        res: Pixel edge.
        more: Wavelength ranges, whether to keep bad bands, scale, nodata, day, resampling, as given.

    Raises:
        UsageError: Something given has no sense.
    """
    from landcover_cli.core.grid import metric_crs
    from landcover_cli.core.lattice import snap_out
    from landcover_cli.io.preprocess_hyperspectral import HyperSettings
    from landcover_cli.io.vector import aoi_on_grid, read_aoi

    wavelengths, keep_bad, scale, nodata, date, resampling = more
    if resampling not in {"bilinear", "nearest"}:
        raise UsageError(f"--resampling {resampling!r} is unknown", remedy="use bilinear, nearest")
    target = metric_crs(crs or first.crs, "--crs")
    if aoi is None and crs is not None and target != first.crs:
        raise UsageError("--crs without --aoi", remedy="give the area with --aoi")
    gsd_m = res or first.gsd_m
    area = aoi_on_grid(read_aoi(aoi), target).bounds if aoi is not None else first.bounds_m
    return HyperSettings(
        crs=target,
        gsd_m=gsd_m,
        area_m=snap_out(area, gsd_m),
        when=_day(date),
        ranges_nm=_ranges(wavelengths),
        keep_bad=keep_bad,
        scale=scale,
        nodata=nodata,
        resampling=resampling,  # type: ignore[arg-type]
    )


def check_cubes(cubes: Sequence[HyperCube], settings: HyperSettings) -> None:
    """Refuse, before anything is written, files that would share a folder, and files without a day.

    Raises:
        InputError: Two files of one name, or no day in a file and none given.
    """
    if len({cube.id for cube in cubes}) < len(cubes):
        raise InputError("two files have one name", remedy="give each file once, or rename one")
    for cube in cubes:
        if cube.when is None and settings.when is None:
            raise InputError(f"{cube.path} states no date", remedy="give --date YYYY-MM-DD")


def _day(text: str) -> dt.datetime | None:
    if not text:
        return None
    try:
        return dt.datetime.combine(dt.date.fromisoformat(text), dt.time(), dt.UTC)
    except ValueError:
        raise UsageError(f"--date {text!r} is no day", remedy="write YYYY-MM-DD") from None


def _ranges(text: str) -> tuple[tuple[float, float], ...]:
    found = []
    for part in filter(None, (word.strip() for word in text.split(","))):
        low, sign, high = part.partition("-")
        try:
            pair = (float(low), float(high))
        except ValueError:
            pair = (1.0, 0.0)
        if not sign or pair[0] > pair[1]:
            raise UsageError(f"--wavelengths: {part!r} is no range", remedy="write e.g. 400-1340,1460-1790")
        found.append(pair)
    return tuple(found)
