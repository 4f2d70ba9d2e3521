"""Where pixels come from: products, catalogues, ready-made stacks, static layers."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

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
    """Sentinel-2 scenes: SAFE folders or zips of Level-2A or Level-1C, or a static STAC catalogue of Level-2A."""

    type: Literal["sentinel2_l2a", "sentinel2_l1c"] = Field(
        description="`sentinel2_l2a` (surface reflectance) or `sentinel2_l1c` (top of the atmosphere)."
    )
    scenes: tuple[str, ...] = Field(
        (), description="Globs of SAFE folders or zips, relative to the pipeline file; `{name}` takes a region's value."
    )
    stac: str | None = Field(
        None,
        description="Path or URL of a STAC catalogue, collection, item or item collection; `{name}` takes a region's "
        "value.",
    )
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
    nbar: bool = Field(
        False, description="Normalise reflectance to a sensor at nadir (products only, bands B02 to B8A, B11, B12)."
    )
    composite: str = Field("mean", description="Composite plug-in.")
    indices: tuple[str, ...] = Field(
        (), description="Spectral indices as further bands, e.g. `NDVI` (spyndex); the cube is float32 then."
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Sentinel2Source:
        if bool(self.scenes) == bool(self.stac):
            raise ValueError("give either `scenes` or `stac`, not both and not neither")
        if self.nbar and self.stac:
            raise ValueError("`nbar` needs the angles of a product (`scenes`), a catalogue has none")
        if self.type == "sentinel2_l1c" and self.stac:
            raise ValueError("sentinel2_l1c is read from products (`scenes`), not from a catalogue")
        if self.type == "sentinel2_l1c" and self.mask == "scl":
            raise ValueError("Level-1C has no scene classification: say `mask: fmask`, `product_qa` or `none`")
        return self

    @property
    def sensor(self) -> str:
        """Name of the sensor plug-in."""
        return "sentinel2" if self.type == "sentinel2_l2a" else "sentinel2_l1c"


PolarimetricLayer = Literal[
    "c2", "haalpha", "c11", "c22", "c12_real", "c12_imag", "entropy", "anisotropy", "alpha", "dprvi", "dop", "rvi",
    "dprvic", "theta_c", "entropy_c",
]  # fmt: skip
_MAX_LOOKS = 64
# What two powers give without their phase.
_OF_POWERS = ("rvi", "dprvic", "theta_c", "entropy_c")


class Sentinel1Source(SourceBase):
    """Raw Sentinel-1 products, brought to terrain-corrected backscatter.

    Consecutive slices of a GRD pass are assembled; an SLC is debursted, its sub-swaths merged, its looks averaged.
    """

    type: Literal["sentinel1_grd", "sentinel1_slc"] = Field(description="Which products: one source takes one kind.")
    scenes: tuple[str, ...] = Field(
        min_length=1,
        description="Globs of SAFE folders or zips, relative to the pipeline file; `{name}` takes a region's value.",
    )
    dem: str = Field(
        description="Terrain: a raster, a VRT or a folder of tiles, relative to the pipeline file, or `flat:H` for one "
        "height in metres."
    )
    dem_height: str = Field(
        "auto",
        description="What the DEM's heights are counted from: `ellipsoidal`, `egm96` (SRTM), `egm2008` (Copernicus "
        "DEM), the path of a geoid grid, or `auto`: what the file itself says.",
    )
    geoid: str | None = Field(
        None, description="Folder with geoid grids, as `lc fetch geoid` writes it; default: PROJ's own folders."
    )
    orbits: str | None = Field(
        None, description="Folder of POEORB and RESORB files, or one of them; default: the annotation's orbit."
    )
    bistatic: bool = Field(
        False,
        description="Take the residual of the processor's bistatic correction into account (up to 4 m along track).",
    )
    backscatter: Literal["gamma0_rtc", "gamma0", "sigma0", "beta0"] = Field(
        "gamma0_rtc", description="Terrain-flattened gamma nought, or gamma, sigma, beta nought of the ellipsoid."
    )
    speckle: str = Field("refined_lee", description="Speckle filter (see `lc plugins`), or `none`.")
    speckle_options: dict[str, int | float] = Field(
        default_factory=dict, description="Parameters of the filter, e.g. `window_px`, `looks`."
    )
    polarisations: tuple[Literal["VV", "VH", "HH", "HV"], ...] = Field(
        ("VV", "VH"), min_length=1, description="Bands of the cube, in order; every product must hold them."
    )
    orbit: Literal["ascending", "descending", "both"] | None = Field(
        None,
        description="Take only passes of this direction; `both` composites them together. Default: refuse a mixture.",
    )
    denoise: Literal["auto", "force", "off"] = Field(
        "auto",
        description="Thermal noise: subtracted unless the processor did so; subtracted in any case; or left in.",
    )
    polarimetry: tuple[PolarimetricLayer, ...] = Field(
        (),
        description="Further bands of the cube, after the polarisations: `rvi`, `dprvic`, `theta_c`, `entropy_c`; of "
        "an SLC also `c2`, `haalpha`, `dprvi`, `dop`, or single ones. Each date has its own; a composite is one of "
        "these, so that a mean is the mean of the index, not the index of mean powers.",
    )
    looks: tuple[int, int] = Field((1, 4), description="Lines and samples of an SLC to average.")
    c2_window_px: int = Field(
        5,
        ge=1,
        le=31,
        description="Odd edge, in pixels, of the window over which the looks of an SLC's C2 are averaged.",
    )
    layers: tuple[Literal["incidence", "layover_shadow"], ...] = Field(
        (),
        description="Rasters written beside each observation; with `layover_shadow` such pixels are left out of "
        "composites.",
    )
    composite: str = Field("mean", description="Composite plug-in.")

    @field_validator("polarisations")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("a polarisation is given twice")
        return value

    @model_validator(mode="after")
    def _of_the_product(self) -> Sentinel1Source:
        if self.type == "sentinel1_grd":
            phase = [name for name in self.polarimetry if name not in _OF_POWERS]
            if phase:
                raise ValueError(
                    f"`polarimetry`: {phase[0]} needs the phase of an SLC (type: sentinel1_slc); a GRD gives "
                    f"{', '.join(_OF_POWERS)}"
                )
            for field in ("looks", "c2_window_px"):
                if field in self.model_fields_set:
                    raise ValueError(f"`{field}` is a setting of type: sentinel1_slc")
        if self.polarimetry and sorted(p[0] == p[1] for p in self.polarisations) != [False, True]:
            raise ValueError("`polarimetry` needs one co-polar and one cross-polar channel in `polarisations`")
        if not all(1 <= number <= _MAX_LOOKS for number in self.looks):
            raise ValueError(
                f"`looks` must be 1 to {_MAX_LOOKS} lines and samples, are {self.looks[0]}, {self.looks[1]}"
            )
        if self.c2_window_px % 2 == 0:
            raise ValueError(f"`c2_window_px` must be odd, is {self.c2_window_px}")
        return self


class Sentinel1RtcSource(SourceBase):
    """Terrain-corrected Sentinel-1 products of others, by STAC items.

    Known: Planetary Computer's sentinel-1-rtc, OPERA RTC-S1. Items of one satellite and pass are mosaicked into one
    observation, in linear power.
    """

    type: Literal["sentinel1_rtc"]
    stac: str = Field(
        description="Path or URL of a STAC catalogue, collection, item or item collection, or a folder of items; "
        "`{name}` takes a region's value."
    )
    polarisations: tuple[Literal["VV", "VH", "HH", "HV"], ...] = Field(
        ("VV", "VH"), min_length=1, description="Bands of the cube, in order; every item must hold them."
    )
    orbit: Literal["ascending", "descending", "both"] | None = Field(
        None,
        description="Take only passes of this direction; `both` composites them together. Default: refuse a mixture.",
    )
    units: Literal["linear", "db", "amplitude"] = Field(
        "linear",
        description="Units of the files' values: linear power; decibels or amplitude, made power on reading.",
    )
    speckle: str = Field(
        "none", description="Speckle filter (see `lc plugins`) on the products' own pixels, or `none`."
    )
    speckle_options: dict[str, int | float] = Field(
        default_factory=dict, description="Parameters of the filter, e.g. `window_px`, `looks`."
    )
    product_mask: bool = Field(
        True, description="Leave out what the items' own mask marks as layover or shadow (OPERA has one)."
    )
    resampling: Literal["bilinear", "nearest"] = Field("bilinear", description="How values come to the cube's pixels.")
    composite: str = Field("mean", description="Composite plug-in.")

    @field_validator("polarisations")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("a polarisation is given twice")
        return value


class StackSource(SourceBase):
    """A ready-made series with dates: GeoTIFF/COG per date, NetCDF or Zarr.

    Several files of one date (10 m and 20 m bands, one file per band) are put together; files of one date that hold the
    same band are observations of their own.
    """

    type: Literal["stack"]
    sensor: str = Field(description="Sensor plug-in that names the bands, e.g. `sentinel1`.")
    files: tuple[str, ...] = Field(
        min_length=1,
        description="Globs, relative to the pipeline file; `{name}` takes a region's value. "
        "A Zarr is named by its folder.",
    )
    bands: tuple[str, ...] = Field(
        (), description="Bands in order; default: all bands of the sensor that the files hold."
    )
    variables: dict[str, str] = Field(
        default_factory=dict,
        description="Band → name of the variable (NetCDF, Zarr) or band description (GeoTIFF), where the files call "
        "them otherwise.",
    )
    file_bands: tuple[str, ...] = Field(
        (), description="Bands of each GeoTIFF in order, where the file itself does not say."
    )
    date_pattern: str | None = Field(
        None,
        description="Regular expression on a GeoTIFF's file name with the groups `year`, `month`, `day`; default: the "
        "tag ACQUISITION_DATETIME, else the first YYYYMMDD or YYYY-MM-DD in the name.",
    )
    crs: str | None = Field(None, description="CRS of files that state none, as `EPSG:<code>`.")
    nodata: float | None = Field(None, description="Value that means nothing, where the files do not say.")
    units: Literal["linear", "db", "reflectance_dn", "reflectance"] = Field(
        "linear",
        description="Units of the files' values: linear power; decibels (made linear on reading); reflectance × 10000 "
        "as stored (scale attributes are ignored); reflectance 0–1 (scale attributes are applied).",
    )
    dn_offset: Literal[0, 1000] = Field(
        0, description="With `reflectance_dn`: the number that zero reflectance is stored as."
    )
    orbit: Literal["ascending", "descending", "mixed"] | None = Field(
        None,
        description="Take only this orbit direction, as the files state it; `mixed` takes both. "
        "Default: refuse a mixture.",
    )
    mask: str = Field("none", description="Mask plug-in; its layer (`SCL`) is looked for in the files.")
    mask_options: dict[str, float | bool | str] = Field(
        default_factory=dict, description="Options of the mask plug-in."
    )
    resampling: Literal["bilinear", "nearest"] = Field("bilinear", description="How values come to the cube's pixels.")
    composite: str = Field("mean", description="Composite plug-in.")
    indices: tuple[str, ...] = Field(
        (), description="Spectral indices as further bands, e.g. `NDVI` (spyndex); the cube is float32 then."
    )

    @field_validator("date_pattern")
    @classmethod
    def _three_groups(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                groups = re.compile(value).groupindex
            except re.error as error:
                raise ValueError(f"not a regular expression ({error})") from None
            if not {"year", "month", "day"} <= set(groups):
                raise ValueError("lacks one of the groups (?P<year>...), (?P<month>...), (?P<day>...)")
        return value


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
    nodata: float | None = Field(None, description="Value that means nothing, where the files do not say.")
    resampling: Literal["bilinear", "nearest"] = Field("bilinear", description="How values come to the grid.")

    @model_validator(mode="after")
    def _elevation(self) -> StaticSource:
        if self.derive and "elevation" not in self.bands:
            raise ValueError(f"`derive` needs a band called `elevation` (bands: {', '.join(self.bands)})")
        return self


SourceConfig = Annotated[
    Sentinel2Source | Sentinel1Source | Sentinel1RtcSource | StackSource | StaticSource, Field(discriminator="type")
]
