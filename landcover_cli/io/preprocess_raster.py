"""Images of a sensor that a YAML file describes, onto the product grid."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from landcover_cli.core.types import MASK_BAD, MASK_CLEAR, MASK_NODATA
from landcover_cli.errors import InputError
from landcover_cli.io.hyperspectral import CubeBand, HyperCube, read_cube
from landcover_cli.io.observation import Observation
from landcover_cli.io.ongrid import Lattice, read_on
from landcover_cli.io.preprocess_hyperspectral import HyperSettings, write_cube
from landcover_cli.io.raster import gdal_env, open_raster

if TYPE_CHECKING:
    from landcover_cli.config.sensorfile import MaskRule, SensorFile


@dataclass(frozen=True)
class DescribedImage:
    """An image and its mask.

    Attributes:
        cube: The image; its bands are the sensor's.
        mask: File of the mask; None without a mask.
    """

    cube: HyperCube
    mask: Path | None


def read_described(path: Path, sensor: SensorFile) -> DescribedImage:
    """An image file as a description says.

    Args:
        path: Raster of all bands.
        sensor: From `config.sensorfile`.

    Raises:
        InputError: Unreadable, fewer bands than described, or its mask is missing.
    """
    whole = read_cube(path)
    bands = []
    for place, band in enumerate(sensor.bands, start=1):
        index = band.file_band or place
        if index > len(whole.bands):
            raise InputError(
                f"{path} has {len(whole.bands)} bands, {band.name} is described as its band {index}",
                remedy="mend `file_band`, or give another file",
            )
        gain = band.scale if band.scale is not None else sensor.scale
        offset = band.offset if band.offset is not None else sensor.offset
        bands.append(CubeBand(index, band.name, band.wavelength_nm, band.width_nm, True, gain, offset))
    nodata = sensor.nodata if sensor.nodata is not None else whole.nodata
    fields = {**whole.__dict__, "bands": tuple(bands), "nodata": nodata}
    return DescribedImage(HyperCube(**fields), _mask_file(path, sensor.mask))


def preprocess_described(
    image: DescribedImage,
    sensor: SensorFile,
    settings: HyperSettings,
    out: Path,
    check: Callable[[], None] = lambda: None,
) -> Observation:
    """Write one image as an observation of reflectance, ρ = number · 1e-4 − 0.1.

    Args:
        image: From `read_described`.
        sensor: As there.
        settings: Grid.
        out: Existing, empty folder.
        check: Called now and then; raises to stop.

    Raises:
        InputError: As `preprocess_hyperspectral`; or the mask cannot be read.
    """
    with gdal_env(), ExitStack() as stack:
        codes: Callable[[Lattice], np.ndarray] | None = None
        if image.mask is not None and sensor.mask is not None:
            rule, dataset = sensor.mask, stack.enter_context(open_raster(image.mask))
            if rule.band > dataset.count:
                raise InputError(f"{image.mask} has no band {rule.band}", remedy="mend `mask.band`")

            def codes(part: Lattice) -> np.ndarray:
                return apply_rule(read_on(dataset, rule.band, part, "nearest", as_float=True), rule)

        return write_cube(image.cube, settings, out, sensor.name, codes, check)


def apply_rule(values: np.ndarray, rule: MaskRule) -> np.ndarray:
    """Mask codes of a mask raster's values; NaN, beyond the raster or its nodata, is nothing seen.

    Args:
        values: float32.
        rule: What they mean.
    """
    seen = np.isfinite(values)
    whole = np.where(seen, values, 0).astype(np.int64)
    if rule.clear:
        bad = ~np.isin(whole, rule.clear)
    elif rule.bad:
        bad = np.isin(whole, rule.bad)
    else:
        bad = (whole & sum(1 << bit for bit in rule.bad_bits)) != 0
    codes = np.where(bad, MASK_BAD, MASK_CLEAR).astype(np.uint8)
    codes[~seen | np.isin(whole, rule.nodata)] = MASK_NODATA
    return codes


def _mask_file(path: Path, rule: MaskRule | None) -> Path | None:
    if rule is None or rule.replace is None:
        return path if rule is not None else None
    if rule.replace[0] not in path.name:
        raise InputError(f"{path.name} does not hold {rule.replace[0]!r}", remedy="mend `mask.replace`")
    mask = path.with_name(path.name.replace(*rule.replace))
    if not mask.is_file():
        raise InputError(f"{path}: its mask {mask.name} is missing", remedy="put it beside the image")
    return mask
