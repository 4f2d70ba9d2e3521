"""Where pixels come from: products, catalogues, ready-made stacks, static layers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from landcover_cli.config.base import Section

S2_LAND_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")


class SourceBase(Section):
    """What every source has."""

    resolution_m: float | None = Field(
        None,
        gt=0,
        description="Pixel edge of this source's cube in metres; default: the grid's. Must divide the tile edge.",
    )
    optional: bool = Field(
        False, description="A region without this source is mapped without it (recorded), instead of an error."
    )


class Sentinel2Source(SourceBase):
    """Sentinel-2 Level-2A scenes: SAFE folders or zips, or a static STAC catalogue."""

    type: Literal["sentinel2_l2a"]
    scenes: tuple[str, ...] = Field(
        (), description="Globs of SAFE folders or zips, relative to the pipeline file; `{name}` takes a region's value."
    )
    stac: str | None = Field(None, description="Path or URL of a STAC catalogue, collection or item collection.")
    bands: tuple[str, ...] = Field(S2_LAND_BANDS, min_length=1, description="Bands of the stack, in order.")
    mask: str = Field("scl", description="Mask plug-in (see `lc plugins`).")
    mask_options: dict[str, float | bool | str] = Field(
        default_factory=dict, description="Options of the mask plug-in."
    )
    max_cloud_percent: float = Field(
        100.0, ge=0, le=100, description="Scenes above this cloud share (metadata) are dropped."
    )
    resampling: Literal["bilinear", "nearest"] = Field(
        "bilinear", description="How 20 m and 60 m bands come to the cube's resolution."
    )
    offset: Literal["auto", "applied", "in_pixels"] = Field(
        "auto",
        description="Radiometric offset: resolved from metadata and pixels, or said by you: already removed from "
        "the pixels, or still in them.",
    )
    composite: str = Field("mean", description="Composite plug-in.")


class StackSource(SourceBase):
    """A ready-made series with dates: GeoTIFF/COG per date, NetCDF or Zarr."""

    type: Literal["stack"]
    sensor: str = Field(description="Sensor plug-in that names the bands, e.g. `sentinel1`.")
    files: tuple[str, ...] = Field(min_length=1, description="Globs, relative to the pipeline file.")
    bands: tuple[str, ...] = Field(
        (), description="Bands in order; default: all bands of the sensor that the files hold."
    )
    units: Literal["linear", "db", "reflectance_dn"] = Field("linear", description="Units of the files' values.")
    composite: str = Field("mean", description="Composite plug-in.")


class StaticSource(SourceBase):
    """Layers without a date: DEM, slope, soil ...; one image per region."""

    type: Literal["static"]
    files: tuple[str, ...] = Field(
        min_length=1, description="Globs of rasters, relative to the pipeline file; mosaicked."
    )
    bands: tuple[str, ...] = Field(min_length=1, description="Names of the files' bands, in order.")
    derive: tuple[Literal["slope", "aspect_sin", "aspect_cos"], ...] = Field(
        (), description="Layers computed from the band `elevation`."
    )
    resampling: Literal["bilinear", "nearest"] = Field("bilinear", description="How values come to the grid.")


SourceConfig = Annotated[Sentinel2Source | StackSource | StaticSource, Field(discriminator="type")]
