"""One hyperspectral cube onto the product grid; by strips of rows, all bands of a strip before the next."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.windows import Window

from landcover_cli.core.types import MASK_CLEAR, MASK_NODATA
from landcover_cli.errors import InputError
from landcover_cli.io.hyperspectral import CubeBand, HyperCube
from landcover_cli.io.observation import Observation, create_observation
from landcover_cli.io.ongrid import Lattice, Method, covered, intersect, read_on, snap_out
from landcover_cli.io.raster import gdal_env, open_raster, raster_info
from landcover_cli.sensors.hyperspectral import SENSOR

STRIP_PX = 256
_MOST_REFLECTANCE = 3.0
Bounds = tuple[float, float, float, float]
Ranges = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class HyperSettings:
    """What decides an observation besides the cube.

    Attributes:
        crs: CRS of the product grid.
        gsd_m: Pixel edge of the observation.
        area_m: Bounds to cover at most, in `crs`.
        when: Time of the acquisition where the file says none.
        ranges_nm: Wavelengths to keep, both ends included; empty: all.
        keep_bad: Keep the bands of the bad-band list.
        scale: Reflectance per number, instead of what the file says.
        nodata: Value that means nothing, where the file says none.
        resampling: How pixels come to the grid.
    """

    crs: str
    gsd_m: float
    area_m: Bounds
    when: dt.datetime | None = None
    ranges_nm: tuple[tuple[float, float], ...] = ()
    keep_bad: bool = False
    scale: float | None = None
    nodata: float | None = None
    resampling: Method = "bilinear"


def chosen_bands(cube: HyperCube, settings: HyperSettings) -> tuple[CubeBand, ...]:
    """Bands of a cube that the settings keep, in the file's order.

    Raises:
        InputError: Ranges are asked of a file without wavelengths, or nothing is left.
    """
    bands = [band for band in cube.bands if band.good or settings.keep_bad]
    if settings.ranges_nm:
        if all(band.wavelength_nm is None for band in cube.bands):
            raise InputError(f"{cube.path} states no wavelengths", remedy="leave --wavelengths out")
        bands = [
            band
            for band in bands
            if band.wavelength_nm is not None and any(a <= band.wavelength_nm <= b for a, b in settings.ranges_nm)
        ]
    if not bands:
        raise InputError(
            f"{cube.path}: none of its {len(cube.bands)} bands is left", remedy="ask for other wavelengths or bad bands"
        )
    return tuple(bands)


def preprocess_hyperspectral(
    cube: HyperCube, settings: HyperSettings, out: Path, check: Callable[[], None] = lambda: None
) -> Observation:
    """Write one cube as an observation of reflectance, ρ = number · 1e-4 − 0.1.

    Args:
        cube: From `io.hyperspectral`.
        settings: Grid and bands.
        out: Existing, empty folder.
        check: Called now and then; raises to stop.

    Raises:
        InputError: No date, no scale, values that are no reflectance, or nothing of the cube within the area.
    """
    return write_cube(cube, settings, out, SENSOR.name, None, check)


def write_cube(
    cube: HyperCube,
    settings: HyperSettings,
    out: Path,
    sensor: str,
    codes: Callable[[Lattice], np.ndarray] | None,
    check: Callable[[], None],
) -> Observation:
    """Write the bands of a cube as an observation of a sensor.

    Args:
        cube: What to read.
        settings: Grid and bands.
        out: Existing, empty folder.
        sensor: Name of the sensor.
        codes: Mask codes on a lattice; None: whatever holds values is clear.
        check: Called now and then; raises to stop.

    Raises:
        InputError: As `preprocess_hyperspectral`.
    """
    bands = chosen_bands(cube, settings)
    gains = _gains(cube, bands, settings)
    nodata = settings.nodata if settings.nodata is not None else cube.nodata
    with gdal_env(), open_raster(cube.path) as dataset:
        area = intersect(
            snap_out(settings.area_m, settings.gsd_m), covered(raster_info(dataset), settings.crs, settings.gsd_m)
        )
        if area is None:
            raise InputError(f"{cube.path} lies outside of the area", remedy="check the AOI")
        lattice = Lattice(settings.crs, settings.gsd_m, area)
        about = _describe(cube, settings, bands, gains, nodata, lattice, sensor)
        height, width = lattice.shape_yx
        with create_observation(out, about) as (data, mask):
            for first in range(0, height, STRIP_PX):
                check()
                part = lattice.rows(first, min(first + STRIP_PX, height))
                window = Window(0, first, width, part.shape_yx[0])
                seen = np.ones(part.shape_yx, bool)
                for place, (band, gain) in enumerate(zip(bands, gains, strict=True), start=1):
                    values = read_on(dataset, band.index, part, settings.resampling, as_float=True, nodata=nodata)
                    if nodata is not None:
                        # A header's value that GDAL did not take for the file's own.
                        values = np.where(values == np.float32(nodata), np.float32(np.nan), values)
                    rho = values.astype(np.float64) * gain + (0.0 if settings.scale is not None else band.offset)
                    _refuse_strange(rho, cube, band)
                    seen &= np.isfinite(rho)
                    data.write(_stored(rho), place, window=window)
                found = codes(part) if codes else np.full(part.shape_yx, MASK_CLEAR, np.uint8)
                mask.write(np.where(seen, found, MASK_NODATA).astype(np.uint8), 1, window=window)
    return about


def _gains(cube: HyperCube, bands: Sequence[CubeBand], settings: HyperSettings) -> list[float]:
    if settings.scale is not None:
        return [settings.scale] * len(bands)
    gains = [band.gain for band in bands]
    if all(gain is not None for gain in gains):
        return [float(gain) for gain in gains if gain is not None]
    if not cube.dtype.startswith("float"):
        raise InputError(
            f"{cube.path} holds {cube.dtype} and does not say what they mean",
            remedy="give --scale, e.g. 0.0001 where 10000 is full reflectance",
        )
    return [1.0] * len(bands)


def _refuse_strange(rho: np.ndarray, cube: HyperCube, band: CubeBand) -> None:
    """Stop where the numbers cannot be reflectance: a wrong scale would go unnoticed in the cube."""
    finite = rho[np.isfinite(rho)]
    if finite.size and float(np.median(finite)) > _MOST_REFLECTANCE:
        raise InputError(
            f"{cube.path}, band {band.name}: the median is {float(np.median(finite)):.4g}, no reflectance",
            remedy="give --scale, or convert radiance to reflectance first",
        )


def _stored(rho: np.ndarray) -> np.ndarray:
    value = np.where(np.isfinite(rho), np.clip(np.floor((rho - SENSOR.offset) / SENSOR.scale + 0.5), 1, 65535), 0)
    return np.asarray(value, np.uint16)


def _describe(
    cube: HyperCube,
    settings: HyperSettings,
    bands: Sequence[CubeBand],
    gains: Sequence[float],
    nodata: float | None,
    lattice: Lattice,
    sensor: str,
) -> Observation:
    when = settings.when or cube.when
    if when is None:
        raise InputError(f"{cube.path} states no date", remedy="give --date YYYY-MM-DD")
    facts: dict[str, Any] = {
        "wavelengths_nm": [band.wavelength_nm for band in bands],
        "fwhm_nm": [band.fwhm_nm for band in bands],
        "file_bands": [band.index for band in bands],
        "bad_bands": [band.index for band in cube.bands if not band.good],
        "gain": sorted(set(gains)) if len(set(gains)) > 1 else gains[0],
        "nodata": nodata,
    }
    return Observation(
        id=cube.id,
        sensor=sensor,
        datetime=when.isoformat().replace("+00:00", "Z"),
        bands=tuple(band.name for band in bands),
        units=SENSOR.units,
        scale=SENSOR.scale,
        offset=SENSOR.offset,
        gsd_m=settings.gsd_m,
        crs=settings.crs,
        bounds_m=lattice.bounds_m,
        dtype=SENSOR.dtype,
        group=cube.id,
        facts=facts,
    )
