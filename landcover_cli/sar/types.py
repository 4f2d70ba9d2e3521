"""What a Sentinel-1 annotation says, as frozen values: one time axis, SI units, axis order (line, pixel).

Every time is float64 seconds since one reference epoch per product (`epoch`, numpy datetime64[ns], UTC). Near the
epoch, float64 resolves far below a picosecond, so a time never limits geometry. Lines and pixels are counted from 0,
an integer being the centre of a sample. Nothing here opens a file; `landcover_cli.io.safe_s1` fills these values.

Source of the fields: Sentinel-1 Product Specification S1-RSL-MDA-52-7441 (annotation, calibration and noise data sets).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from landcover_cli.errors import InputError

SPEED_OF_LIGHT_MS = 299_792_458.0

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Backscatter = Literal["sigma0", "beta0", "gamma0"]


def seconds_since(epoch: np.datetime64, time: np.datetime64) -> float:
    """Seconds from `epoch` to `time`, exact to the nanosecond that both carry.

    Args:
        epoch: Reference instant, UTC.
        time: Instant to express, UTC.

    Returns:
        Signed seconds as float64.
    """
    delta = time.astype("datetime64[ns]") - epoch.astype("datetime64[ns]")
    return float(delta / np.timedelta64(1, "ns")) * 1e-9


def instant(epoch: np.datetime64, time_s: float) -> np.datetime64:
    """The UTC instant that lies `time_s` seconds after `epoch`, rounded to the nanosecond."""
    return epoch.astype("datetime64[ns]") + np.timedelta64(round(time_s * 1e9), "ns")


@dataclass(frozen=True, slots=True, eq=False)
class OrbitStateVectors:
    """Positions and velocities of the satellite in the Earth-fixed frame.

    Attributes:
        epoch: Reference of `time_s`, datetime64[ns], UTC.
        time_s: [N] strictly increasing seconds since `epoch`.
        position_m: [N, 3] Earth-centred Earth-fixed metres.
        velocity_ms: [N, 3] metres per second in the same rotating frame.
        source: Where they come from, for provenance: "annotation/Auxiliary", "annotation/Downlink", or a file name.

    Raises:
        InputError: The shapes disagree, a value is not finite, or the times do not increase.
    """

    epoch: np.datetime64
    time_s: FloatArray
    position_m: FloatArray
    velocity_ms: FloatArray
    source: str = ""

    def __post_init__(self) -> None:
        n = self.time_s.shape[0]
        if self.time_s.ndim != 1 or self.position_m.shape != (n, 3) or self.velocity_ms.shape != (n, 3):
            raise InputError(
                f"orbit {self.source!r}: shapes {self.time_s.shape}, {self.position_m.shape}, "
                f"{self.velocity_ms.shape} are not [N], [N, 3], [N, 3]",
                remedy="give one position and one velocity per time",
            )
        finite = all(bool(np.isfinite(a).all()) for a in (self.time_s, self.position_m, self.velocity_ms))
        if n < 2 or not finite or not bool((np.diff(self.time_s) > 0).all()):
            raise InputError(
                f"orbit {self.source!r}: {n} state vectors that are not finite with strictly increasing times",
                remedy="use another orbit file, or the vectors of the annotation",
            )

    def rebased(self, epoch: np.datetime64) -> OrbitStateVectors:
        """The same vectors with times counted from another epoch."""
        shift_s = seconds_since(self.epoch, epoch)
        return replace(self, epoch=epoch.astype("datetime64[ns]"), time_s=self.time_s - shift_s)


@dataclass(frozen=True, slots=True, eq=False)
class SrgrRecord:
    """One coordinate conversion of a GRD: polynomials between slant and ground range at one azimuth time.

    Attributes:
        azimuth_time_s: Seconds since the product epoch.
        slant_range_time_s: Two-way time to the first sample.
        sr0_m: Origin of the slant-range polynomial.
        srgr: Coefficients, constant first: ground_m = Σ srgr[k]·(slant_m − sr0_m)^k.
        gr0_m: Origin of the ground-range polynomial.
        grsr: Coefficients, constant first: slant_m = Σ grsr[k]·(ground_m − gr0_m)^k.
    """

    azimuth_time_s: float
    slant_range_time_s: float
    sr0_m: float
    srgr: FloatArray
    gr0_m: float
    grsr: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class GeolocationGrid:
    """Tie points that the processor computed over a terrain height; the geometric truth of tests. All arrays are [N].

    Attributes:
        line: Image line of the point.
        pixel: Image sample of the point.
        azimuth_time_s: Zero-Doppler time, seconds since the product epoch.
        slant_range_time_s: Two-way slant-range time, seconds.
        lat_deg: Geodetic latitude, WGS84.
        lon_deg: Longitude, WGS84, −180..180.
        height_m: Height above the WGS84 ellipsoid.
        incidence_deg: Incidence angle on the ellipsoid.
        elevation_deg: Antenna elevation angle.
    """

    line: IntArray
    pixel: IntArray
    azimuth_time_s: FloatArray
    slant_range_time_s: FloatArray
    lat_deg: FloatArray
    lon_deg: FloatArray
    height_m: FloatArray
    incidence_deg: FloatArray
    elevation_deg: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationVector:
    """Calibration factors A along one line; backscatter = DN² / A².

    Attributes:
        azimuth_time_s: Seconds since the product epoch.
        line: Image line; may lie before the first or after the last one.
        pixel: [N] non-decreasing samples; may reach beyond the image.
        sigma0: [N] factors of sigma nought.
        beta0: [N] factors of beta nought.
        gamma0: [N] factors of gamma nought.
        dn: [N] factors of the original digital number.
    """

    azimuth_time_s: float
    line: int
    pixel: IntArray
    sigma0: FloatArray
    beta0: FloatArray
    gamma0: FloatArray
    dn: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationVectors:
    """All calibration vectors of one channel, by increasing azimuth time.

    Attributes:
        absolute_constant: absoluteCalibrationConstant; it is already contained in the factors, kept for provenance.
        vectors: At least one vector.
    """

    absolute_constant: float
    vectors: tuple[CalibrationVector, ...]


@dataclass(frozen=True, slots=True, eq=False)
class NoiseRangeVector:
    """Noise power (same scale as DN²) along one line, on a pixel grid of its own.

    Attributes:
        azimuth_time_s: Seconds since the product epoch.
        line: Image line; SLC vectors may start before line 0.
        pixel: [N] non-decreasing samples.
        lut: [N] noise power; 0 where the processor gives none.
    """

    azimuth_time_s: float
    line: int
    pixel: IntArray
    lut: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class NoiseAzimuthBlock:
    """Azimuth factor of the noise inside one rectangle of one sub-swath (IPF ≥ 2.90), bounds inclusive.

    Attributes:
        swath: Sub-swath name, e.g. "IW1".
        first_line: First line of the rectangle.
        last_line: Last line of the rectangle.
        first_pixel: First sample of the rectangle.
        last_pixel: Last sample of the rectangle.
        line: [N] lines of the factors, non-decreasing.
        lut: [N] factors, dimensionless.
    """

    swath: str
    first_line: int
    last_line: int
    first_pixel: int
    last_pixel: int
    line: IntArray
    lut: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class NoiseVectors:
    """All noise information of one channel.

    Attributes:
        range_vectors: By increasing azimuth time; may be empty.
        azimuth_blocks: Empty before IPF 2.90, and in SM and WV products.
    """

    range_vectors: tuple[NoiseRangeVector, ...]
    azimuth_blocks: tuple[NoiseAzimuthBlock, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Burst:
    """One TOPS burst of an SLC sub-swath.

    Attributes:
        azimuth_time_s: Zero-Doppler time of its first line, seconds since the product epoch.
        sensing_time_s: Sensing time of its first line, seconds since the product epoch.
        first_line: Line of the image where it starts.
        first_valid_sample: [linesPerBurst] first valid sample of each line, −1 where the line is invalid.
        last_valid_sample: [linesPerBurst] last valid sample of each line, −1 where the line is invalid.
    """

    azimuth_time_s: float
    sensing_time_s: float
    first_line: int
    first_valid_sample: IntArray
    last_valid_sample: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class SwathTiming:
    """Layout of the bursts; zero lines and no bursts for GRD.

    Attributes:
        lines_per_burst: Lines of every burst.
        samples_per_burst: Samples of every burst.
        bursts: By increasing azimuth time.
    """

    lines_per_burst: int
    samples_per_burst: int
    bursts: tuple[Burst, ...]


@dataclass(frozen=True, slots=True)
class SwathBounds:
    """Rectangle of a GRD that was taken from one sub-swath; all bounds inclusive.

    Attributes:
        swath: Sub-swath name, e.g. "IW2".
        azimuth_time_s: Time of `first_line`, seconds since the product epoch.
        first_line: First line.
        last_line: Last line.
        first_pixel: First sample.
        last_pixel: Last sample.
    """

    swath: str
    azimuth_time_s: float
    first_line: int
    last_line: int
    first_pixel: int
    last_pixel: int


@dataclass(frozen=True, slots=True)
class SwathMerge:
    """How the sub-swaths were merged into a GRD: every rectangle, ordered by swath, then by line. Empty for SLC."""

    bounds: tuple[SwathBounds, ...]


@dataclass(frozen=True, slots=True)
class PulseTiming:
    """How the pulses of one sub-swath were sent.

    Attributes:
        swath: Sub-swath name, e.g. "IW2".
        prf_hz: Pulse repetition frequency.
        rank: Pulses between the transmission of one and the reception of its echo.
    """

    swath: str
    prf_hz: float
    rank: int


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """Geometry of the image grid.

    Attributes:
        first_line_time_s: Zero-Doppler time of line 0, seconds since the product epoch.
        last_line_time_s: Zero-Doppler time of the last line, seconds since the product epoch.
        azimuth_time_interval_s: Time between two lines (of one burst for SLC).
        shape_yx: Lines and samples.
        range_spacing_m: Pixel spacing in range: ground range for GRD, slant range for SLC.
        azimuth_spacing_m: Pixel spacing in azimuth.
        slant_range_time_s: Two-way time to the first sample.
        range_sampling_rate_hz: Sampling rate in slant range.
        radar_frequency_hz: Carrier frequency.
        incidence_mid_deg: Incidence angle at mid-swath.
        slice_number: Number of this slice within the data take; 0 where the product is no slice.
    """

    first_line_time_s: float
    last_line_time_s: float
    azimuth_time_interval_s: float
    shape_yx: tuple[int, int]
    range_spacing_m: float
    azimuth_spacing_m: float
    slant_range_time_s: float
    range_sampling_rate_hz: float
    radar_frequency_hz: float
    incidence_mid_deg: float
    slice_number: int

    def line_time_s(self, line: FloatArray | float) -> FloatArray | float:
        """Zero-Doppler time of a (fractional) line; for SLC only valid inside the first burst."""
        return self.first_line_time_s + line * self.azimuth_time_interval_s


@dataclass(frozen=True, slots=True)
class ProductMeta:
    """What holds for the whole product.

    Attributes:
        product_id: Name of the SAFE folder without its suffix.
        mission: "S1A", "S1B", "S1C" or "S1D".
        mode: "IW", "EW", "SM" or "WV"; stripmap products name their beam in the swath.
        product_type: "GRD" or "SLC".
        resolution_class: "F", "H", "M", or "" for SLC.
        pass_direction: "ASCENDING" or "DESCENDING".
        ipf_version: Version of the processor as (major, minor), e.g. (2, 36) or (3, 40).
        absolute_orbit: Absolute orbit number at start.
        relative_orbit: Relative orbit number (track) at start, 1..175.
        datatake_id: missionDataTakeId.
        start: Start of sensing, UTC.
        stop: Stop of sensing, UTC.
        footprint_lonlat: Corners (longitude, latitude) of the manifest's frame, in its order; empty if it gives none.
    """

    product_id: str
    mission: str
    mode: str
    product_type: str
    resolution_class: str
    pass_direction: str
    ipf_version: tuple[int, int]
    absolute_orbit: int
    relative_orbit: int
    datatake_id: int
    start: np.datetime64
    stop: np.datetime64
    footprint_lonlat: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, eq=False)
class S1Annotation:
    """Annotation of one polarisation of one swath.

    Attributes:
        meta: What holds for the whole product.
        epoch: Reference of every time in seconds of this product, datetime64[ns], UTC.
        polarisation: "VV", "VH", "HH" or "HV".
        swath: "IW" or "EW" for merged GRD, "IW1".. for SLC, "S1".. for stripmap.
        image: Geometry of the image grid.
        orbit: State vectors of the annotation.
        srgr: Coordinate conversions by increasing azimuth time; empty for SLC.
        geolocation: Tie points.
        swath_timing: Bursts of an SLC.
        swath_merge: Origin of the pixels of a GRD.
        thermal_noise_removed: thermalNoiseCorrectionPerformed.
        orbit_source: orbitSource of the processing information: "Auxiliary", "Downlink", "Extracted" or "".
        pulses: Of every sub-swath; empty where the annotation does not say.
        bistatic_applied: bistaticDelayCorrectionApplied.
    """

    meta: ProductMeta
    epoch: np.datetime64
    polarisation: str
    swath: str
    image: ImageInfo
    orbit: OrbitStateVectors
    srgr: tuple[SrgrRecord, ...]
    geolocation: GeolocationGrid
    swath_timing: SwathTiming
    swath_merge: SwathMerge
    thermal_noise_removed: bool
    orbit_source: str
    pulses: tuple[PulseTiming, ...] = ()
    bistatic_applied: bool = False

    def line_times_s(self) -> FloatArray:
        """Zero-Doppler time of every line, [lines], seconds since the epoch.

        The bursts of a TOPS SLC overlap in time: each line counts from the start of its own burst.
        """
        n_lines = self.image.shape_yx[0]
        step = self.image.azimuth_time_interval_s
        timing = self.swath_timing
        if not timing.bursts:
            return np.asarray(self.image.first_line_time_s + np.arange(n_lines) * step, dtype=np.float64)
        burst, row = np.divmod(np.arange(n_lines), timing.lines_per_burst)
        starts = np.array([b.azimuth_time_s for b in timing.bursts])
        return np.asarray(starts[np.minimum(burst, len(starts) - 1)] + row * step, dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class S1Channel:
    """One polarisation of one swath: annotation, tables and where the pixels are.

    Attributes:
        annotation: The annotation.
        calibration: Calibration vectors.
        noise: Noise vectors.
        measurement: Path that rasterio can open (a file, or one inside a zip through /vsizip/).
    """

    annotation: S1Annotation
    calibration: CalibrationVectors
    noise: NoiseVectors
    measurement: str
