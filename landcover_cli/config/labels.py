"""Labels and patches."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from landcover_cli.config.base import Section


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

    method: Literal["spatial_blocks", "random", "halves"] = Field(
        "spatial_blocks", description="How ground is divided."
    )
    ratios: tuple[float, float, float] = Field(
        (0.6, 0.2, 0.2), description="Shares of train (above 0), validation and test (0 or above); any scale."
    )
    block_px: int = Field(128, ge=1, description="Edge of a spatial block in pixels.")
    buffer_px: int = Field(0, ge=0, description="Ground left out between blocks of different splits, in pixels.")

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
    min_labelled: float = Field(
        0.02, ge=0, le=1, description="Patches with a smaller share of labelled pixels are left out."
    )
    split: SplitConfig = Field(default_factory=SplitConfig)
    seed: int = Field(0, ge=0, description="Seed of the split.")
