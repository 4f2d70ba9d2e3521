"""`lc plugins`, `lc doctor`: what is there."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from landcover_cli import __version__
from landcover_cli.cli import options


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command("plugins")(plugins)
    app.command("doctor")(doctor)


def plugins(
    kind: Annotated[str | None, typer.Argument(help="Only this kind, e.g. model.")] = None,
    as_json: options.Json = False,
) -> None:
    """List sensors, masks, composites, speckle filters, models, objectives and steps by name."""
    from landcover_cli import registry
    from landcover_cli.errors import UsageError

    if kind is not None and kind not in registry.KINDS:
        raise UsageError(f"unknown kind of plug-in {kind!r}", remedy=f"use one of {', '.join(registry.KINDS)}")
    kinds = [kind] if kind else list(registry.KINDS)
    if as_json:
        typer.echo(json.dumps({name: registry.names(name) for name in kinds}))
        return
    for name in kinds:
        typer.echo(f"{name:10} {registry.KINDS[name].title}")
        for plugin in registry.names(name):
            typer.echo(f"    {plugin}")


def doctor(as_json: options.Json = False) -> None:
    """Say what is installed and what is missing: packages, GPU, GDAL drivers, PROJ grids, disk."""
    report = _examine()
    if as_json:
        typer.echo(json.dumps(report))
    else:
        for section, facts in report.items():
            typer.echo(section)
            for name, value in facts.items():
                typer.echo(f"    {name:22} {value}")
    if not report["problems"]["count"] == 0:
        raise typer.Exit(3)


def _examine() -> dict[str, dict[str, Any]]:
    from landcover_cli.errors import LcError
    from landcover_cli.io.resultstore import package_versions
    from landcover_cli.registry import check_models_package

    problems: list[str] = []
    try:
        check_models_package()
    except LcError as error:
        problems.append(str(error))
    gdal = _gdal(problems)
    return {
        "lc": {"version": __version__, "python": sys.version.split()[0], "platform": platform.platform(terse=True)},
        "packages": dict(package_versions()),
        "machine": {
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
            "free disk here": f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB",
            "gpu": _gpu(),
        },
        "gdal": gdal,
        "proj": _proj(),
        "problems": {"count": len(problems), **{str(index + 1): text for index, text in enumerate(problems)}},
    }


def _gdal(problems: list[str]) -> dict[str, str]:
    import rasterio
    from rasterio.drivers import raster_driver_extensions
    from rasterio.env import GDALVersion

    extensions = set(raster_driver_extensions().values())
    with rasterio.Env() as env:
        drivers = env.drivers()
    facts = {"version": str(GDALVersion.runtime()), "readers by extension": str(len(extensions))}
    for name, what in {
        "GTiff": "GeoTIFF",
        "COG": "maps",
        "JP2OpenJPEG": "Sentinel-2 SAFE",
        "netCDF": "NetCDF by GDAL",
    }.items():
        facts[name] = f"yes ({what})" if name in drivers else f"missing ({what})"
        if name in {"GTiff", "COG", "JP2OpenJPEG"} and name not in drivers:
            problems.append(f"GDAL has no driver {name} ({what}); install rasterio's wheel with pip")
    return facts


def _gpu() -> str:
    import torch

    if torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    return f"none (torch {torch.__version__}); the CPU is used"


def _proj() -> dict[str, str]:
    import pyproj

    places = pyproj.datadir
    folders = [Path(places.get_data_dir()), Path(places.get_user_data_dir())]  # type: ignore[attr-defined]
    facts = {"version": pyproj.__version__, "data": str(folders[0])}
    for grid in ("us_nga_egm96_15.tif", "us_nga_egm08_25.tif"):
        found = [folder / grid for folder in folders if (folder / grid).exists()]
        facts[grid] = (
            str(found[0]) if found else f"absent (needed for DEMs with geoid heights: pyproj sync --file {grid})"
        )
    return facts
