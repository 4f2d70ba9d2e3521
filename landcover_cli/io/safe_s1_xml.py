"""Turns the XML of a Sentinel-1 product into the values of `landcover_cli.sar.types`.

Source of the fields: Sentinel-1 Product Specification S1-RSL-MDA-52-7441. Every missing field is an error that names
the file and the field.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import numpy as np

from landcover_cli.errors import InputError
from landcover_cli.sar.types import (
    Burst,
    CalibrationVector,
    CalibrationVectors,
    FloatArray,
    GeolocationGrid,
    ImageInfo,
    IntArray,
    NoiseAzimuthBlock,
    NoiseRangeVector,
    NoiseVectors,
    OrbitStateVectors,
    ProductMeta,
    PulseTiming,
    S1Annotation,
    SrgrRecord,
    SwathBounds,
    SwathMerge,
    SwathTiming,
    seconds_since,
)

_NAME = re.compile(r"^(S1[A-Z])_(S[1-6]|IW|EW|WV|N[1-6]|EN)_(GRD|SLC)([FHM_])_")


class _Node:
    """An element that knows its file, so that a missing or unreadable field is reported by name."""

    def __init__(self, element: ET.Element, file: str, epoch: np.datetime64) -> None:
        self.element = element
        self.file = file
        self.epoch = epoch

    def fail(self, field: str, why: str) -> InputError:
        return InputError(f"{self.file}: {field} {why}", remedy="download the product again")

    def child(self, path: str) -> _Node:
        found = self.element.find(path)
        if found is None:
            raise self.fail(path, "is missing")
        return _Node(found, self.file, self.epoch)

    def children(self, path: str) -> list[_Node]:
        return [_Node(e, self.file, self.epoch) for e in self.element.findall(path)]

    def text(self, path: str, default: str | None = None) -> str:
        value = self.element.findtext(path)
        if value is None or not value.strip():
            if default is None:
                raise self.fail(path, "is missing or empty")
            return default
        return value.strip()

    def number(self, path: str) -> float:
        try:
            value = float(self.text(path))
        except ValueError as error:
            raise self.fail(path, f"is {self.text(path)!r}, not a number") from error
        if not np.isfinite(value):
            raise self.fail(path, f"is {value}, not a finite number")
        return value

    def integer(self, path: str) -> int:
        value = self.number(path)
        if value != int(value):
            raise self.fail(path, f"is {value}, not a whole number")
        return int(value)

    def instant(self, path: str) -> np.datetime64:
        return parse_time(self.text(path), f"{self.file}: {path}")

    def seconds(self, path: str) -> float:
        return seconds_since(self.epoch, self.instant(path))

    def floats(self, path: str) -> FloatArray:
        try:
            values = np.array(self.text(path).split(), dtype=np.float64)
        except ValueError as error:
            raise self.fail(path, "holds something that is not a number") from error
        if not np.isfinite(values).all():
            raise self.fail(path, "holds a value that is not finite")
        return values

    def integers(self, path: str) -> IntArray:
        try:
            return np.array(self.text(path).split(), dtype=np.int64)
        except ValueError as error:
            raise self.fail(path, "holds something that is not a whole number") from error


def parse_time(text: str, what: str) -> np.datetime64:
    """A UTC time of the annotation, orbit file or manifest as datetime64[ns].

    Args:
        text: ISO 8601 without offset, with or without a final "Z" or a leading "UTC=".
        what: What to call it in errors.

    Returns:
        The instant.

    Raises:
        InputError: It is no such time.
    """
    try:
        return np.datetime64(text.strip().removeprefix("UTC=").removesuffix("Z"), "ns")
    except ValueError as error:
        raise InputError(f"{what}: {text!r} is no UTC time", remedy="download the file again") from error


def _local(element: ET.Element) -> str:
    return element.tag.rsplit("}", 1)[-1]


def parse_manifest(root: ET.Element, product_id: str) -> ProductMeta:
    """What the manifest says of the whole product.

    Args:
        root: Root element of manifest.safe.
        product_id: Name of the SAFE folder without suffix; gives the resolution class where it follows the convention.

    Returns:
        The metadata; the resolution class is "" where the folder was renamed.

    Raises:
        InputError: The product is no Sentinel-1 Level-1 product, or a field is missing.
    """
    file = f"{product_id}/manifest.safe"
    texts: dict[str, str] = {}
    for element in root.iter():
        # The first occurrence wins: the outermost, hence of the product and not of what it was made from.
        texts.setdefault(_local(element), (element.text or "").strip())
    if texts.get("familyName", "").upper() != "SENTINEL-1":
        raise InputError(
            f"{file}: platform {texts.get('familyName', 'not stated')!r} is not SENTINEL-1",
            remedy="give a Sentinel-1 Level-1 GRD or SLC product",
        )
    needed = ("number", "mode", "productType", "pass", "orbitNumber", "relativeOrbitNumber", "startTime", "stopTime")
    for name in needed:
        if not texts.get(name):
            raise InputError(f"{file}: {name} is missing", remedy="download the product again")
    if texts["productType"] not in ("GRD", "SLC"):
        raise InputError(
            f"{file}: product type {texts['productType']!r} is neither GRD nor SLC",
            remedy="give a Sentinel-1 Level-1 GRD or SLC product",
        )
    named = _NAME.match(product_id)
    mode = texts["mode"]
    return ProductMeta(
        product_id=product_id,
        mission=f"S1{texts['number']}",
        mode=mode,
        product_type=texts["productType"],
        resolution_class=named.group(4).strip("_") if named else "",
        pass_direction=texts["pass"].upper(),
        ipf_version=_ipf_version(root, file),
        absolute_orbit=int(texts["orbitNumber"]),
        relative_orbit=int(texts["relativeOrbitNumber"]),
        datatake_id=int(texts.get("missionDataTakeID") or 0),
        start=parse_time(texts["startTime"], f"{file}: startTime"),
        stop=parse_time(texts["stopTime"], f"{file}: stopTime"),
        footprint_lonlat=_footprint(texts.get("coordinates", ""), file),
    )


def _ipf_version(root: ET.Element, file: str) -> tuple[int, int]:
    for element in root.iter():
        if _local(element) == "software" and element.get("name", "").startswith("Sentinel-1 IPF"):
            match = re.fullmatch(r"\s*(\d+)\.(\d+)\s*", element.get("version", ""))
            if match:
                return int(match.group(1)), int(match.group(2))
    raise InputError(
        f"{file}: no version of the Sentinel-1 IPF, on which noise removal depends", remedy="download the product again"
    )


def _footprint(text: str, file: str) -> tuple[tuple[float, float], ...]:
    try:
        pairs = [tuple(float(v) for v in pair.split(",")) for pair in text.split()]
        return tuple((lon, lat) for lat, lon in pairs)
    except ValueError as error:
        raise InputError(f"{file}: footprint {text!r} is not readable", remedy="download the product again") from error


def parse_annotation(root: ET.Element, file: str, meta: ProductMeta, epoch: np.datetime64) -> S1Annotation:
    """The annotation of one polarisation of one swath.

    Args:
        root: Root element of annotation/*.xml.
        file: What to call it in errors.
        meta: Metadata of the product.
        epoch: Reference of every time in seconds.

    Returns:
        The annotation.

    Raises:
        InputError: A field is missing or unreadable.
    """
    node = _Node(root, file, epoch)
    if root.tag != "product":
        raise node.fail("root element", f"is {root.tag!r}, not 'product'")
    process = node.child("imageAnnotation/processingInformation")
    orbit_source = process.text("orbitSource", "")
    records = [_srgr(n) for n in node.children("coordinateConversion/coordinateConversionList/coordinateConversion")]
    return S1Annotation(
        meta=meta,
        epoch=epoch,
        polarisation=node.text("adsHeader/polarisation"),
        swath=node.text("adsHeader/swath"),
        image=_image(node),
        orbit=_orbit(node, orbit_source),
        srgr=tuple(sorted(records, key=lambda r: r.azimuth_time_s)),
        geolocation=_geolocation(node),
        swath_timing=_swath_timing(node),
        swath_merge=_swath_merge(node),
        thermal_noise_removed=process.text("thermalNoiseCorrectionPerformed").lower() == "true",
        orbit_source=orbit_source,
        pulses=_pulses(node),
        bistatic_applied=process.text("bistaticDelayCorrectionApplied", "false").lower() == "true",
    )


def _pulses(node: _Node) -> tuple[PulseTiming, ...]:
    """Only the bistatic residual needs them, so that their absence is no fault of a product."""
    found = node.children("generalAnnotation/downlinkInformationList/downlinkInformation")
    return tuple(
        PulseTiming(info.text("swath"), info.number("prf"), info.integer("downlinkValues/rank"))
        for info in found
        if info.element.find("downlinkValues/rank") is not None and info.number("prf") > 0
    )


def _image(node: _Node) -> ImageInfo:
    info = node.child("imageAnnotation/imageInformation")
    product = node.child("generalAnnotation/productInformation")
    lines, samples = info.integer("numberOfLines"), info.integer("numberOfSamples")
    interval = info.number("azimuthTimeInterval")
    if lines < 1 or samples < 1 or interval <= 0:
        raise info.fail("image", f"has {lines} lines, {samples} samples, {interval} s per line")
    return ImageInfo(
        first_line_time_s=info.seconds("productFirstLineUtcTime"),
        last_line_time_s=info.seconds("productLastLineUtcTime"),
        azimuth_time_interval_s=interval,
        shape_yx=(lines, samples),
        range_spacing_m=info.number("rangePixelSpacing"),
        azimuth_spacing_m=info.number("azimuthPixelSpacing"),
        slant_range_time_s=info.number("slantRangeTime"),
        range_sampling_rate_hz=product.number("rangeSamplingRate"),
        radar_frequency_hz=product.number("radarFrequency"),
        incidence_mid_deg=info.number("incidenceAngleMidSwath"),
        slice_number=int(info.text("sliceNumber", "0")),
    )


def _orbit(node: _Node, source: str) -> OrbitStateVectors:
    vectors = node.children("generalAnnotation/orbitList/orbit")
    if len(vectors) < 2:
        raise node.fail("generalAnnotation/orbitList", f"holds {len(vectors)} state vectors")
    time_s = np.array([v.seconds("time") for v in vectors])
    order = np.argsort(time_s, kind="stable")
    position = np.array([[v.number(f"position/{axis}") for axis in "xyz"] for v in vectors])
    velocity = np.array([[v.number(f"velocity/{axis}") for axis in "xyz"] for v in vectors])
    return OrbitStateVectors(
        epoch=node.epoch,
        time_s=time_s[order],
        position_m=position[order],
        velocity_ms=velocity[order],
        source=f"annotation/{source}" if source else "annotation",
    )


def _srgr(node: _Node) -> SrgrRecord:
    return SrgrRecord(
        azimuth_time_s=node.seconds("azimuthTime"),
        slant_range_time_s=node.number("slantRangeTime"),
        sr0_m=node.number("sr0"),
        srgr=node.floats("srgrCoefficients"),
        gr0_m=node.number("gr0"),
        grsr=node.floats("grsrCoefficients"),
    )


def _geolocation(node: _Node) -> GeolocationGrid:
    points = node.children("geolocationGrid/geolocationGridPointList/geolocationGridPoint")

    def column(name: str) -> FloatArray:
        return np.array([p.number(name) for p in points], dtype=np.float64)

    return GeolocationGrid(
        line=column("line").astype(np.int64),
        pixel=column("pixel").astype(np.int64),
        azimuth_time_s=np.array([p.seconds("azimuthTime") for p in points], dtype=np.float64),
        slant_range_time_s=column("slantRangeTime"),
        lat_deg=column("latitude"),
        lon_deg=column("longitude"),
        height_m=column("height"),
        incidence_deg=column("incidenceAngle"),
        elevation_deg=column("elevationAngle"),
    )


def _swath_timing(node: _Node) -> SwathTiming:
    if node.element.find("swathTiming") is None:
        return SwathTiming(lines_per_burst=0, samples_per_burst=0, bursts=())
    timing = node.child("swathTiming")
    lines = timing.integer("linesPerBurst")
    bursts = []
    for number, burst in enumerate(timing.children("burstList/burst")):
        first, last = burst.integers("firstValidSample"), burst.integers("lastValidSample")
        if first.shape != (lines,) or last.shape != (lines,):
            raise burst.fail(f"burst {number}", f"gives valid samples of {first.size} lines instead of {lines}")
        bursts.append(
            Burst(
                azimuth_time_s=burst.seconds("azimuthTime"),
                sensing_time_s=burst.seconds("sensingTime"),
                first_line=number * lines,
                first_valid_sample=first,
                last_valid_sample=last,
            )
        )
    return SwathTiming(lines_per_burst=lines, samples_per_burst=timing.integer("samplesPerBurst"), bursts=tuple(bursts))


def _swath_merge(node: _Node) -> SwathMerge:
    bounds = [
        SwathBounds(
            swath=merge.text("swath"),
            azimuth_time_s=b.seconds("azimuthTime"),
            first_line=b.integer("firstAzimuthLine"),
            last_line=b.integer("lastAzimuthLine"),
            first_pixel=b.integer("firstRangeSample"),
            last_pixel=b.integer("lastRangeSample"),
        )
        for merge in node.children("swathMerging/swathMergeList/swathMerge")
        for b in merge.children("swathBoundsList/swathBounds")
    ]
    return SwathMerge(bounds=tuple(sorted(bounds, key=lambda b: (b.swath, b.first_line))))


def parse_calibration(root: ET.Element, file: str, epoch: np.datetime64) -> CalibrationVectors:
    """All calibration vectors of one channel.

    Args:
        root: Root element of annotation/calibration/calibration-*.xml.
        file: What to call it in errors.
        epoch: Reference of every time in seconds.

    Returns:
        The vectors by increasing azimuth time.

    Raises:
        InputError: A field is missing or unreadable, a list has another length than its pixels, or a factor is not
            positive.
    """
    node = _Node(root, file, epoch)
    vectors = []
    for v in node.children("calibrationVectorList/calibrationVector"):
        pixel = v.integers("pixel")
        factors = {name: v.floats(name) for name in ("sigmaNought", "betaNought", "gamma", "dn")}
        for name, values in factors.items():
            _check_nodes(v, name, pixel, values)
            if not (values > 0).all():
                raise v.fail(name, "holds a factor that is not positive")
        vectors.append(
            CalibrationVector(
                azimuth_time_s=v.seconds("azimuthTime"),
                line=v.integer("line"),
                pixel=pixel,
                sigma0=factors["sigmaNought"],
                beta0=factors["betaNought"],
                gamma0=factors["gamma"],
                dn=factors["dn"],
            )
        )
    if not vectors:
        raise node.fail("calibrationVectorList", "holds no vector")
    return CalibrationVectors(
        absolute_constant=node.number("calibrationInformation/absoluteCalibrationConstant"),
        vectors=tuple(sorted(vectors, key=lambda v: v.azimuth_time_s)),
    )


def parse_noise(root: ET.Element, file: str, epoch: np.datetime64) -> NoiseVectors:
    """All noise vectors of one channel, of any IPF version.

    Args:
        root: Root element of annotation/calibration/noise-*.xml.
        file: What to call it in errors.
        epoch: Reference of every time in seconds.

    Returns:
        Range vectors by increasing azimuth time and, from IPF 2.90 on, the azimuth blocks.

    Raises:
        InputError: A field is missing or unreadable, or a list has another length than its pixels.
    """
    node = _Node(root, file, epoch)
    found = [(v, "noiseRangeLut") for v in node.children("noiseRangeVectorList/noiseRangeVector")]
    found += [(v, "noiseLut") for v in node.children("noiseVectorList/noiseVector")]
    vectors = []
    for v, name in found:
        pixel, lut = v.integers("pixel"), v.floats(name)
        _check_nodes(v, name, pixel, lut)
        vectors.append(NoiseRangeVector(v.seconds("azimuthTime"), v.integer("line"), pixel, lut))
    blocks = []
    for v in node.children("noiseAzimuthVectorList/noiseAzimuthVector"):
        line, lut = v.integers("line"), v.floats("noiseAzimuthLut")
        _check_nodes(v, "noiseAzimuthLut", line, lut)
        blocks.append(
            NoiseAzimuthBlock(
                swath=v.text("swath", ""),
                first_line=int(v.text("firstAzimuthLine", str(line[0]))),
                last_line=int(v.text("lastAzimuthLine", str(line[-1]))),
                first_pixel=int(v.text("firstRangeSample", "0")),
                last_pixel=int(v.text("lastRangeSample", str(2**31))),
                line=line,
                lut=lut,
            )
        )
    return NoiseVectors(
        range_vectors=tuple(sorted(vectors, key=lambda v: v.azimuth_time_s)), azimuth_blocks=tuple(blocks)
    )


def _check_nodes(node: _Node, name: str, position: IntArray, values: FloatArray) -> None:
    if position.shape != values.shape:
        raise node.fail(name, f"has {values.size} values for {position.size} positions")
    if (np.diff(position) < 0).any():
        raise node.fail(name, "has positions that decrease")
