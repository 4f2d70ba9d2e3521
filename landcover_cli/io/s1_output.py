"""Backscatter as it is delivered: COGs in linear power, decibels or 8 bits, a quick-look and a STAC item.

Whatever the scale, overviews are averaged in linear power first: averaging decibels would make every overview darker,
by up to 2.5 dB in single-look speckle.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree as ET

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from landcover_cli.core.digest import pretty_json
from landcover_cli.core.lattice import Lattice
from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.cog import write_cog
from landcover_cli.io.observation import DATA, MASK, Observation, read_about
from landcover_cli.io.quicklook import QUICKLOOK_PX, write_quicklook
from landcover_cli.io.raster import gdal_env
from landcover_cli.io.s1_prepare import LAYER_FILES, create_scratch
from landcover_cli.io.s1_stac import parameters, polarisations, s1_item
from landcover_cli.sar.stretch import (
    PowerHistogram,
    StretchLimits,
    halve_power,
    percentile_limits,
    stretch_to_uint8,
    to_db,
)

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

Scale = Literal["linear", "db", "stretch"]
SCALES: tuple[Scale, ...] = ("linear", "db", "stretch")
SUFFIX = {"linear": "", "db": "_db", "stretch": "_8bit"}
# Even, so that strips of one level are whole rows of the next.
_ROWS = 1024
_SMALLEST_PX = 512
ITEM, QUICKLOOK = "item.json", "quicklook.png"


@dataclass(frozen=True)
class S1Output:
    """How backscatter is delivered.

    Attributes:
        scale: "linear" and "db" in float32 (nodata NaN), "stretch" in 8 bits (nodata 0).
        limits_db: Ends of the 8-bit stretch; None for the 2nd and 98th percentile of the whole scene, per band.
        full_range: 0…255 instead of 1…255: black and nodata are then both 0.
        threads: For compression; changes no byte.

    Raises:
        UsageError: No such scale, or limits without the 8-bit stretch.
    """

    scale: Scale = "linear"
    limits_db: tuple[float, float] | None = None
    full_range: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise UsageError(f"scale {self.scale!r} is unknown", remedy=f"choose {', '.join(SCALES)}")
        if self.limits_db is not None:
            if self.scale != "stretch":
                raise UsageError("limits are those of the 8-bit stretch", remedy="add --scale stretch")
            StretchLimits(*self.limits_db)


def write_deliverables(folder: Path, footprint: BaseGeometry, output: S1Output) -> dict[str, str]:
    """Write COGs, quick-look and STAC item beside an observation.

    Args:
        folder: An observation of `preprocess_s1`.
        footprint: Its ground, in its own CRS.
        output: Scale and limits.

    Returns:
        {asset: file name}.

    Raises:
        InputError: The stretch has no positive power to take percentiles of.
        StorageError: The disk is full.
    """
    about = read_about(folder)
    work = folder / ".cogs"
    work.mkdir()
    files: dict[str, str] = {}
    ranges: dict[str, StretchLimits | None] = {}
    views = []
    try:
        with gdal_env():
            for index, band in enumerate(polarisations(about), start=1):
                levels = _pyramid(folder / DATA, index, work / band, about.lattice)
                views.append(_view(levels))
                ranges[band] = _limits(levels[0], output) if output.scale == "stretch" else None
                files[band.lower()] = (
                    f"{about.id}_{about.facts['backscatter']}_{band.lower()}{SUFFIX[output.scale]}.tif"
                )
                _band_cog(levels, work, folder / files[band.lower()], about, (band, output, ranges[band]))
            for name in about.facts["layers"]:
                files[name] = LAYER_FILES[name]
                path = folder / files[name]
                write_cog(path, path, categorical=name == "layover_shadow", threads=output.threads)
        write_quicklook(folder / QUICKLOOK, views, polarisations(about))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    files |= {"quicklook": QUICKLOOK, "data": DATA, "mask": MASK}
    item = s1_item(about, footprint, {name: folder / file for name, file in files.items()}, output.scale, ranges)
    (folder / ITEM).write_text(pretty_json(item), encoding="utf-8")
    return {**files, "item": ITEM}


def read_deliverables(folder: Path) -> dict[str, str]:
    """What `write_deliverables` said about a folder: {asset: file name}.

    Raises:
        InputError: The STAC item is missing or damaged.
    """
    try:
        assets = json.loads((folder / ITEM).read_text(encoding="utf-8"))["assets"]
        return {**{name: Path(asset["href"]).name for name, asset in assets.items()}, "item": ITEM}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder / ITEM} is missing or damaged ({error})", remedy=f"remove {folder}, and run the command again"
        ) from None


Level = tuple[Path, int, Lattice]
"""File, band in it, and pixels of one level of a pyramid of linear power."""


def _pyramid(source: Path, index: int, folder: Path, lattice: Lattice) -> list[Level]:
    """The band itself and halved copies of it down to one block."""
    folder.mkdir()
    levels: list[Level] = [(source, index, lattice)]
    while max(levels[-1][2].shape_yx) > _SMALLEST_PX:
        last = levels[-1][2]
        height, width = (-(-size // 2) for size in last.shape_yx)
        left, _, _, top = last.bounds_m
        gsd_m = 2.0 * last.gsd_m
        # An odd edge makes the last pixel of the next level reach beyond the ground.
        pixels = Lattice(last.crs, gsd_m, (left, top - height * gsd_m, left + width * gsd_m, top))
        path = folder / f"{len(levels)}.tif"
        with create_scratch(path, pixels) as target:
            for first, values in _strips(levels[-1]):
                half = halve_power(values)
                target.write(half, 1, window=Window(0, first // 2, half.shape[1], half.shape[0]))  # type: ignore[no-untyped-call, unused-ignore]
        levels.append((path, 1, pixels))
    return levels


def _strips(level: Level) -> Iterator[tuple[int, NDArray[np.float32]]]:
    path, index, lattice = level
    height, width = lattice.shape_yx
    with rasterio.open(path) as dataset:
        for first in range(0, height, _ROWS):
            rows = min(_ROWS, height - first)
            yield first, dataset.read(index, window=Window(0, first, width, rows))  # type: ignore[no-untyped-call, unused-ignore]


def _view(levels: Sequence[Level]) -> NDArray[np.float32]:
    """The finest level that fits a quick-look."""
    level = next((item for item in levels if max(item[2].shape_yx) <= QUICKLOOK_PX), levels[-1])
    return np.concatenate([values for _, values in _strips(level)])


def _limits(level: Level, output: S1Output) -> StretchLimits:
    if output.limits_db is not None:
        return StretchLimits(*output.limits_db)
    histogram = PowerHistogram.empty()
    for _, values in _strips(level):
        histogram = histogram.feed(values)
    return percentile_limits(histogram)


def _band_cog(
    levels: Sequence[Level],
    work: Path,
    target: Path,
    about: Observation,
    how: tuple[str, S1Output, StretchLimits | None],
) -> None:
    """One band and its own overviews as a COG."""
    band, output, limits = how
    scaled = list(levels)
    if output.scale != "linear":
        targets = [work / f"{band}_{k}_{output.scale}.tif" for k in range(len(levels))]
        scaled = [_scaled(level, path, output, limits) for level, path in zip(levels, targets, strict=True)]
    vrt = work / f"{band}.vrt"
    vrt.write_text(_vrt(scaled, about, band, _tags(about, band, output, limits), output), encoding="utf-8")
    write_cog(vrt, target, categorical=False, threads=output.threads, own_overviews=True)


def _scaled(level: Level, target: Path, output: S1Output, limits: StretchLimits | None) -> Level:
    lattice = level[2]
    eight = output.scale == "stretch"
    with create_scratch(target, lattice, "uint8" if eight else "float32") as dataset:
        for first, values in _strips(level):
            db = to_db(values)
            if limits is not None:
                final: NDArray[Any] = stretch_to_uint8(db, limits, full_range=output.full_range)
            else:
                final = db
            dataset.write(final, 1, window=Window(0, first, values.shape[1], values.shape[0]))  # type: ignore[no-untyped-call, unused-ignore]
    return target, 1, lattice


def _tags(about: Observation, band: str, output: S1Output, limits: StretchLimits | None) -> dict[str, str]:
    facts = about.facts
    tags = {
        "ACQUISITION_DATETIME": about.datetime,
        "POLARISATION": band,
        "UNITS": about.units if output.scale == "linear" else about.units.replace("_linear", "_db"),
        "PRODUCT": about.id,
        "ORBIT_DIRECTION": str(facts["orbit_direction"]),
        "PARAMETERS": json.dumps({"ipf": facts["ipf"], **parameters(facts)}, sort_keys=True),
    }
    if limits is not None:
        tags |= {"STRETCH_LOW_DB": repr(limits.low_db), "STRETCH_HIGH_DB": repr(limits.high_db)}
        tags["STRETCH_RULE"] = "2nd to 98th percentile of the scene" if output.limits_db is None else "fixed"
    return tags


def _vrt(levels: Sequence[Level], about: Observation, band: str, tags: dict[str, str], output: S1Output) -> str:
    """A VRT that binds a band to its overviews; GDAL's COG driver takes both from it."""
    lattice = levels[0][2]
    height, width = lattice.shape_yx
    left, _, _, top = lattice.bounds_m
    root = ET.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    ET.SubElement(root, "SRS").text = rasterio.CRS.from_user_input(lattice.crs).to_wkt()
    transform = (left, lattice.gsd_m, 0.0, top, 0.0, -lattice.gsd_m)
    ET.SubElement(root, "GeoTransform").text = ", ".join(repr(value) for value in transform)
    metadata = ET.SubElement(root, "Metadata")
    for key, value in tags.items():
        ET.SubElement(metadata, "MDI", key=key).text = value
    eight = output.scale == "stretch"
    raster = ET.SubElement(root, "VRTRasterBand", dataType="Byte" if eight else "Float32", band="1")
    ET.SubElement(raster, "Description").text = band
    ET.SubElement(raster, "NoDataValue").text = "0" if eight else "nan"
    source = ET.SubElement(raster, "SimpleSource")
    ET.SubElement(source, "SourceFilename", relativeToVRT="0").text = str(levels[0][0])
    ET.SubElement(source, "SourceBand").text = str(levels[0][1])
    for path, index, _ in levels[1:]:
        overview = ET.SubElement(raster, "Overview")
        ET.SubElement(overview, "SourceFilename", relativeToVRT="0").text = str(path)
        ET.SubElement(overview, "SourceBand").text = str(index)
    return ET.tostring(root, encoding="unicode")
