"""A sensor described in a YAML file: bands, wavelengths, pixel size, scale, mask rule; no code needed."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from landcover_cli.config.base import Section
from landcover_cli.config.strictyaml import load_document
from landcover_cli.errors import ConfigError

_MOST_BYTES = 1_000_000


class FileBand(Section):
    """One band of the sensor's files."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,40}$", description="Name in cubes, e.g. `red` or `B4`.")
    file_band: int | None = Field(None, ge=1, description="1-based band of the file; default: its place in the list.")
    wavelength_nm: float | None = Field(None, gt=100, lt=20_000, description="Centre wavelength in nm.")
    width_nm: float | None = Field(None, gt=0, lt=5000, description="Bandwidth (FWHM) in nm.")
    scale: float | None = Field(None, gt=0, description="Reflectance per number; default: the sensor's.")
    offset: float | None = Field(None, description="Reflectance of the number 0; default: the sensor's.")


class MaskRule(Section):
    """Which pixels of a mask raster are usable."""

    band: int = Field(1, ge=1, description="1-based band of the mask file.")
    replace: tuple[str, str] | None = Field(
        None,
        description="The mask's file is called like the image with this text replaced, e.g. `[_SR, _udm2]`; "
        "default: the mask is a band of the image itself.",
    )
    clear: tuple[int, ...] = Field((), description="Values that are clear; all others are bad.")
    bad: tuple[int, ...] = Field((), description="Values that are bad; all others are clear.")
    bad_bits: tuple[int, ...] = Field((), description="Bits (0 = lowest) that make a pixel bad.")
    nodata: tuple[int, ...] = Field((), description="Values of pixels that were not seen.")

    @model_validator(mode="after")
    def _one_rule(self) -> MaskRule:
        if sum(map(bool, (self.clear, self.bad, self.bad_bits))) != 1:
            raise ValueError("give one of `clear`, `bad`, `bad_bits`")
        if any(not 0 <= bit < 32 for bit in self.bad_bits):
            raise ValueError("bits are 0 to 31")
        return self


class SensorFile(Section):
    """A sensor; reflectance = number · scale + offset."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$", description="Name of the sensor in cubes, e.g. `planetscope`.")
    title: str = Field("", description="For people.")
    bands: tuple[FileBand, ...] = Field(min_length=1, description="Bands to read, in the cube's order.")
    gsd_m: float = Field(gt=0, le=5000, description="Native pixel edge in metres, the default of `--res`.")
    scale: float = Field(gt=0, description="Reflectance per number, e.g. 0.0001.")
    offset: float = Field(0.0, description="Reflectance of the number 0.")
    nodata: float | None = Field(None, description="Value that means nothing; default: what the file says.")
    mask: MaskRule | None = Field(None, description="Where clouds and the like are marked.")

    @model_validator(mode="after")
    def _distinct(self) -> SensorFile:
        names = [band.name for band in self.bands]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"band {twice[0]!r} is given twice")
        return self


def read_sensor_file(path: Path, taken: Collection[str] = ()) -> SensorFile:
    """Read a description.

    Args:
        path: YAML file.
        taken: Names of sensors that there are already.

    Raises:
        ConfigError: Unreadable, no mapping, unknown keys, values out of range, or a name that is taken.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{path} has {path.stat().st_size} bytes, no sensor", remedy="check the path")
        document = load_document(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error})", remedy="check the path") from None
    try:
        sensor = SensorFile.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {where or 'the document'}: {first['msg']}", remedy="mend the description") from None
    if sensor.name in taken:
        raise ConfigError(f"{path}: {sensor.name!r} is a sensor that lc knows already", remedy="choose another name")
    return sensor
