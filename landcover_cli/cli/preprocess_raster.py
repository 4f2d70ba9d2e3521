"""`lc preprocess raster`: images of a sensor that a YAML file describes."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from landcover_cli.cli import options

log = logging.getLogger("lc")


def raster(
    files: Annotated[list[Path], typer.Argument(help="Images with all bands in one file.", metavar="FILE...")],
    out: options.Out,
    sensor: Annotated[Path, typer.Option(help="YAML file: bands, wavelengths, pixel size, scale, mask rule.")],
    aoi: Annotated[Path | None, typer.Option(help="Polygon file; only its bounds are read.")] = None,
    crs: Annotated[str | None, typer.Option(help="CRS of the grid; default: the first file's.")] = None,
    res: Annotated[float | None, typer.Option(min=0.1, help="Pixel edge in metres; default: the sensor's.")] = None,
    date: Annotated[
        str, typer.Option(metavar="YYYY-MM-DD", help="Day of the acquisition, where tags and name say none.")
    ] = "",
    resampling: Annotated[str, typer.Option(help="How pixels come to the grid: bilinear or nearest.")] = "bilinear",
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Images of any optical sensor as observations: DIR/<file>/data.tif, mask.tif and observation.json."""
    from landcover_cli.cli.preprocess_hyperspectral import check_cubes, cube_settings
    from landcover_cli.config.sensorfile import read_sensor_file
    from landcover_cli.io.atomic import atomic_folder
    from landcover_cli.io.preprocess_raster import preprocess_described, read_described
    from landcover_cli.registry import names

    described = read_sensor_file(sensor, names("sensor"))
    images = [read_described(path, described) for path in files]
    first = images[0].cube
    settings = cube_settings(first, aoi, crs, res or described.gsd_m, ("", False, None, None, date, resampling))
    check_cubes([image.cube for image in images], settings)
    records: list[dict[str, Any]] = []
    for image in images:
        target = out / image.cube.id
        bands = [band.name for band in image.cube.bands]
        records.append({"image": image.cube.id, "observation": str(target), "sensor": described.name, "bands": bands})
        if not dry_run:
            log.info("%s", image.cube.id)
            with atomic_folder(target) as scratch:
                preprocess_described(image, described, settings, scratch)
    if as_json:
        typer.echo(json.dumps(records, ensure_ascii=False))
        return
    for record in records:
        typer.echo(f"{'would write' if dry_run else 'wrote'} {record['observation']}")
