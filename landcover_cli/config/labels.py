"""Labels and patches."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from landcover_cli.config.base import Section
from landcover_cli.config.place import PeriodConfig
from landcover_cli.errors import ConfigError


class LabelSourceConfig(Section):
    """One file of labels."""

    source: str = Field(
        description="Polygons, points (GeoPackage, GeoJSON, GeoParquet) or a class raster, relative to the "
        "pipeline file; `{name}` takes a region's value."
    )
    layer: str | None = Field(
        None, description="Layer of a GeoPackage, or variable of a NetCDF; default: the only one."
    )
    attribute: str | None = Field(None, description="Attribute of vector labels that holds the class code or name.")
    crosswalk: str | None = Field(
        None, description="Crosswalk file (YAML), or `lc:NAME`, from the labels' codes to the legend's."
    )
    rule: Literal["centre", "all_touched"] = Field("centre", description="Which pixels a polygon labels.")
    ignore: tuple[int, ...] = Field((), description="Codes that mean `no label`.")
    weight: float = Field(1.0, gt=0, description="What a label of this file counts in training.")
    weight_attribute: str | None = Field(
        None, description="Attribute of vector labels, a number from 0 up, that `weight` is multiplied by."
    )
    valid_from: str | None = Field(
        None,
        description="Attribute of vector labels with the first day that they hold for; labels that hold for no day of "
        "the region's period are left out and counted.",
    )
    valid_to: str | None = Field(None, description="Attribute of vector labels with the last day that they hold for.")


class LabelsConfig(LabelSourceConfig):
    """Reference labels and their legend."""

    legend: str = Field(description="Legend file (YAML), or `lc:NAME`: codes, names, colours, descriptions.")
    others: tuple[LabelSourceConfig, ...] = Field(
        (), description="Further files, by priority: each labels what those before it left without a label."
    )


class SplitConfig(Section):
    """How patches are divided into training, validation and test."""

    method: Literal["spatial_blocks", "random", "halves", "attribute"] = Field(
        "spatial_blocks",
        description="How ground is divided: blocks, single patches, the southern half as test, or `attribute`: the "
        "zones of a file, or the groups of a table, go to one split each.",
    )
    zones: str | None = Field(
        None, description="Polygons that `attribute` divides by; default: the regions of the pipeline file."
    )
    attribute: str | None = Field(
        None,
        description="Attribute of `zones` that names a zone; where its values are train, validation and test, they "
        "are the splits.",
    )
    ratios: tuple[float, float, float] = Field(
        (0.6, 0.2, 0.2), description="Shares of train (above 0), validation and test (0 or above); any scale."
    )
    block_px: int = Field(128, ge=1, description="Edge of a spatial block in pixels.")
    buffer_px: int = Field(0, ge=0, description="Ground left out between blocks of different splits, in pixels.")
    block_m: float | None = Field(None, gt=0, description="Edge of a spatial block in metres, in place of `block_px`.")
    buffer_m: float | None = Field(None, ge=0, description="Ground left out in metres, in place of `buffer_px`.")

    @field_validator("ratios")
    @classmethod
    def _shares(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if value[0] <= 0 or min(value) < 0:
            raise ValueError("train must be above 0, validation and test 0 or above")
        return value


class TileConfig(Section):
    """Training patches."""

    patch_px: int = Field(64, ge=8, le=4096, description="Patch edge in pixels of the product grid.")
    stride_px: int | None = Field(None, ge=1, description="Step between patches; default: the patch edge.")
    patch_m: float | None = Field(None, gt=0, description="Patch edge in metres, in place of `patch_px`.")
    overlap_m: float | None = Field(
        None, ge=0, description="Overlap of neighbouring patches in metres, in place of `stride_px`."
    )
    layout: Literal["dense", "centre"] = Field(
        "dense",
        description="`dense`: a lattice of patches with all their labels; `centre`: one patch around every labelled "
        "pixel (points), which alone is its label.",
    )
    min_labelled: float = Field(
        0.02, ge=0, le=1, description="Patches with a smaller share of labelled pixels are left out."
    )
    split: SplitConfig = Field(default_factory=SplitConfig)
    seed: int = Field(0, ge=0, description="Seed of the split.")
    preview: int = Field(0, ge=0, le=400, description="Samples on a sheet of pictures and labels (PNG); 0: none.")

    def in_pixels(self, gsd_m: float) -> TileConfig:
        """The same with every length in pixels of a grid.

        Raises:
            ConfigError: Metres that are no whole number of pixels, or a patch out of range.
        """
        patch_px = self.patch_px if self.patch_m is None else _pixels("patch_m", self.patch_m, gsd_m)
        if not _PATCH_PX[0] <= patch_px <= _PATCH_PX[1]:
            raise ConfigError(
                f"tile.patch_m: {self.patch_m:g} m are {patch_px} px of {gsd_m:g} m",
                remedy=f"choose from {_PATCH_PX[0]} to {_PATCH_PX[1]} px",
            )
        stride_px = self.stride_px
        if self.overlap_m is not None:
            stride_px = patch_px - _pixels("overlap_m", self.overlap_m, gsd_m)
            if stride_px < 1:
                raise ConfigError(
                    f"tile.overlap_m: {self.overlap_m:g} m leave no step between patches of {patch_px * gsd_m:g} m",
                    remedy="choose an overlap smaller than the patch",
                )
        split = self.split
        lengths = {
            name: _pixels(f"split.{name}", value, gsd_m)
            for name, value in (("block_m", split.block_m), ("buffer_m", split.buffer_m))
            if value is not None
        }
        changed = {name.replace("_m", "_px"): px for name, px in lengths.items()} | {"block_m": None, "buffer_m": None}
        return self.model_copy(
            update={
                "patch_px": patch_px,
                "stride_px": stride_px,
                "patch_m": None,
                "overlap_m": None,
                "split": split.model_copy(update=changed),
            }
        )


_PATCH_PX = (8, 4096)


def _pixels(name: str, length_m: float, gsd_m: float) -> int:
    pixels = length_m / gsd_m
    if abs(pixels - round(pixels)) > 1e-6:
        raise ConfigError(
            f"tile.{name}: {length_m:g} m are {pixels:g} px of {gsd_m:g} m, no whole number",
            remedy="choose a multiple of the pixel edge",
        )
    return round(pixels)


class TableSource(Section):
    """Bands of a table that make one input of the network."""

    bands: dict[str, str] = Field(min_length=1, description="Band name of the input → column of the table.")
    kind: Literal["series", "image"] = Field(
        "series", description="`series`: one value per period; `image`: one value, the mean of all rows (terrain)."
    )
    units: str = Field(
        "reflectance_dn",
        description="What cubes of this input call their units: `reflectance_dn` (reflectance, once scaled), "
        "`gamma0_linear`, `m`, ...; values of units that end in `linear` become dB.",
    )
    exponent: float = Field(1.0, gt=0, description="Value = column ^ exponent * scale + offset (2 for amplitudes).")
    scale: float = Field(1.0, description="See `exponent`.")
    offset: float = Field(0.0, description="See `exponent`.")
    nodata: tuple[float, ...] = Field((), description="Values of a column that mean nothing; so does an empty cell.")
    gsd_m: float = Field(10.0, gt=0, description="Pixel edge of the input that a map will be made from, in metres.")
    optional: bool = Field(False, description="A map may lack this input.")


class TableConfig(Section):
    """A table of series: one row per point and date, one column per band."""

    path: str = Field(description="Parquet or CSV file, relative to the description.")
    id: str = Field(description="Column that names the point.")
    time: str = Field(description="Column with the day (or instant) of the row.")
    x: str = Field("lon", description="Column with the easting or longitude.")
    y: str = Field("lat", description="Column with the northing or latitude.")
    crs: str = Field("EPSG:4326", description="CRS of `x` and `y`.")
    label: str = Field(description="Column with the class code or name, the same in all rows of a point.")
    group: str | None = Field(None, description="Column that `tile.split.method: attribute` divides by.")
    weight: str | None = Field(None, description="Column that says what the point's label counts, from 0 up.")
    crosswalk: str | None = Field(None, description="Crosswalk file, or `lc:NAME`, from the labels' codes.")
    ignore: tuple[int, ...] = Field((), description="Codes that mean `no label`.")
    period: PeriodConfig = Field(description="Periods of the series; rows of one period are averaged.")
    sources: dict[str, TableSource] = Field(min_length=1, description="Inputs by name.")
