"""The texts of a Sentinel-1 GRD product: annotation, calibration and noise of each polarisation, and the manifest.

Source of the fields: Sentinel-1 Product Specification S1-RSL-MDA-52-7441; order and number formats follow products of
IPF 3.40. What no reader of pixels needs (quality, Doppler, antenna patterns, replicas) is absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_cli.demo.sentinel1_geometry import Geometry
from landcover_cli.demo.sentinel1_orbit import FloatArray
from landcover_cli.demo.sentinel1_ranges import LINE_INTERVAL_S, PIXEL_SPACING_M
from landcover_cli.demo.sentinel1_tables import CALIBRATION_CONSTANT, SWATHS, Calibration, Noise, sub_swaths

IPF_VERSION = "003.40"
SPEED_OF_LIGHT_MS = 299_792_458.0
_RADAR_HZ = 5.405000454334350e09
_SAMPLING_HZ = 6.434523812571428e07
_ORBIT_STEP_S = 10
_ORBIT_MARGIN_S = 70
_DEGREE = 8
# Polynomials reach well over the image, as those of real products do, which keeps every coefficient meaningful.
_REACH_M = 20_000.0


@dataclass(frozen=True, eq=False)
class Product:
    """One product.

    Attributes:
        geometry: Orbit and image.
        platform: ``S1A`` or ``S1B``.
        node: UTC of the ascending node.
        absolute_orbit: Number of the orbit.
        polarisations: In the order of their files.
    """

    geometry: Geometry
    platform: str
    node: datetime
    absolute_orbit: int
    polarisations: tuple[str, ...] = ("VV", "VH")

    @property
    def datatake(self) -> int:
        """missionDataTakeID: of the magnitude that real products of this orbit have."""
        return self.absolute_orbit * 8 - 10_000

    @property
    def start(self) -> datetime:
        """First line, UTC, whole microseconds."""
        return self.at(self.geometry.first_line_s)

    @property
    def stop(self) -> datetime:
        """Last line, UTC."""
        return self.at(self.geometry.last_line_s)

    def at(self, time_s: float) -> datetime:
        """UTC of seconds since the node, to the microsecond."""
        return self.node + timedelta(microseconds=round(time_s * 1e6))

    def stem(self, polarisation: str) -> str:
        """Name of the files of one polarisation, without suffix."""
        number = self.polarisations.index(polarisation) + 1
        return (
            f"{self.platform.lower()}-iw-grd-{polarisation.lower()}-{self.start:%Y%m%dt%H%M%S}-{self.stop:%Y%m%dt%H%M%S}"
            f"-{self.absolute_orbit:06d}-{self.datatake:06x}-{number:03d}"
        )

    def name(self, checksum: int) -> str:
        """Name of the SAFE folder."""
        kind = {("VV", "VH"): "DV", ("VV",): "SV"}[self.polarisations]
        return (
            f"{self.platform}_IW_GRDH_1S{kind}_{self.start:%Y%m%dT%H%M%S}_{self.stop:%Y%m%dT%H%M%S}"
            f"_{self.absolute_orbit:06d}_{self.datatake:06X}_{checksum:04X}.SAFE"
        )


def _utc(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%S.%f}"


def _list(name: str, values: Sequence[object] | NDArray[Any], form: str) -> str:
    return f'<{name} count="{len(values)}">{" ".join(format(v, form) for v in values)}</{name}>'


def _header(product: Product, polarisation: str) -> str:
    number = product.polarisations.index(polarisation) + 1
    return (
        f"<adsHeader><missionId>{product.platform}</missionId><productType>GRD</productType>"
        f"<polarisation>{polarisation}</polarisation><mode>IW</mode><swath>IW</swath>"
        f"<startTime>{_utc(product.start)}</startTime><stopTime>{_utc(product.stop)}</stopTime>"
        f"<absoluteOrbitNumber>{product.absolute_orbit}</absoluteOrbitNumber>"
        f"<missionDataTakeId>{product.datatake}</missionDataTakeId><imageNumber>{number:03d}</imageNumber></adsHeader>"
    )


def _document(root: str, parts: Sequence[str]) -> bytes:
    text = "\n".join(part.replace("><", ">\n<") if len(part) < 2000 else part for part in parts)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>\n{text}\n</{root}>\n'.encode()


def annotation_xml(product: Product, polarisation: str) -> bytes:
    """annotation/*.xml of one polarisation."""
    return _document(
        "product",
        [
            _header(product, polarisation),
            _general(product),
            _image(product),
            "<swathTiming><linesPerBurst>0</linesPerBurst><samplesPerBurst>0</samplesPerBurst>"
            '<burstList count="0"/></swathTiming>',
            _geolocation(product),
            _conversions(product),
            _merging(product),
        ],
    )


def _general(product: Product) -> str:
    geometry = product.geometry
    first = int(np.floor(geometry.first_line_s)) - _ORBIT_MARGIN_S
    vectors = []
    for time_s in range(first, first + 2 * _ORBIT_MARGIN_S + 21, _ORBIT_STEP_S):
        position, velocity = geometry.track.state(float(time_s))
        parts = "".join(
            f"<{name}>"
            + "".join(f"<{axis}>{v:.15e}</{axis}>" for axis, v in zip("xyz", vector, strict=True))
            + f"</{name}>"
            for name, vector in (("position", position), ("velocity", velocity))
        )
        vectors.append(f"<orbit><time>{_utc(product.at(time_s))}</time><frame>Earth Fixed</frame>{parts}</orbit>")
    orbits = "\n".join(vectors)
    return (
        f"<generalAnnotation>\n<productInformation><pass>{geometry.direction.capitalize()}</pass>"
        "<timelinessCategory>Fast-24h</timelinessCategory>"
        f"<platformHeading>{_heading_deg(geometry):.15e}</platformHeading><projection>Ground Range</projection>"
        f"<rangeSamplingRate>{_SAMPLING_HZ:.15e}</rangeSamplingRate><radarFrequency>{_RADAR_HZ:.15e}</radarFrequency>"
        "<azimuthSteeringRate>1.590368784000000e+00</azimuthSteeringRate></productInformation>\n"
        f'<orbitList count="{len(vectors)}">\n{orbits}\n</orbitList>\n</generalAnnotation>'
    )


def _heading_deg(geometry: Geometry) -> float:
    """Direction of flight, clockwise from north."""
    position, velocity = geometry.track.state(0.5 * (geometry.first_line_s + geometry.last_line_s))
    up = position / np.linalg.norm(position)
    east = np.array([-up[1], up[0], 0.0]) / np.hypot(up[0], up[1])
    return float(np.degrees(np.arctan2(velocity @ east, velocity @ np.cross(up, east))))


def _image(product: Product) -> str:
    geometry = product.geometry
    lines, pixels = geometry.shape_yx
    middle = float(geometry.incidence_deg[pixels // 2])
    flags = "".join(
        f"<{name}>{value}</{name}>"
        for name, value in (
            ("orbitDataFileUsed", "true"),
            ("antennaElevationPatternApplied", "true"),
            ("rangeSpreadingLossCompensationApplied", "true"),
            ("srgrConversionApplied", "true"),
            ("detectionPerformed", "true"),
            ("thermalNoiseCorrectionPerformed", "false"),
            ("referenceRange", "8.000000000000000e+05"),
            ("ellipsoidName", "WGS84"),
            ("ellipsoidSemiMajorAxis", "6.378137000000000e+06"),
            ("ellipsoidSemiMinorAxis", "6.356752314245000e+06"),
            ("bistaticDelayCorrectionApplied", "true"),
            ("orbitSource", "Auxiliary"),
        )
    )
    return (
        f"<imageAnnotation><imageInformation><productFirstLineUtcTime>{_utc(product.start)}</productFirstLineUtcTime>"
        f"<productLastLineUtcTime>{_utc(product.stop)}</productLastLineUtcTime>"
        f"<ascendingNodeTime>{_utc(product.node)}</ascendingNodeTime><anchorTime>{_utc(product.start)}</anchorTime>"
        "<productComposition>Individual</productComposition><sliceNumber>0</sliceNumber>"
        f"<slantRangeTime>{_two_way_s(geometry.ranges.near_range_m):.15e}</slantRangeTime>"
        "<pixelValue>Detected</pixelValue><outputPixels>16 bit Unsigned Integer</outputPixels>"
        f"<rangePixelSpacing>{PIXEL_SPACING_M:.6e}</rangePixelSpacing><azimuthPixelSpacing>1.000000e+01</azimuthPixelSpacing>"
        f"<azimuthTimeInterval>{LINE_INTERVAL_S:.15e}</azimuthTimeInterval>"
        f"<azimuthFrequency>{1 / LINE_INTERVAL_S:.15e}</azimuthFrequency>"
        f"<numberOfSamples>{pixels}</numberOfSamples><numberOfLines>{lines}</numberOfLines>"
        f"<incidenceAngleMidSwath>{middle:.15e}</incidenceAngleMidSwath></imageInformation>"
        f"<processingInformation>{flags}</processingInformation></imageAnnotation>"
    )


def _two_way_s(slant_m: float) -> float:
    return 2.0 * slant_m / SPEED_OF_LIGHT_MS


def _geolocation(product: Product) -> str:
    points = []
    for tie in product.geometry.ties:
        points.append(
            f"<geolocationGridPoint><azimuthTime>{_utc(product.at(tie.time_s))}</azimuthTime>"
            f"<slantRangeTime>{_two_way_s(tie.slant_m):.15e}</slantRangeTime><line>{tie.line}</line>"
            f"<pixel>{tie.pixel}</pixel><latitude>{tie.lat_deg:.15e}</latitude><longitude>{tie.lon_deg:.15e}</longitude>"
            f"<height>{tie.height_m:.15e}</height><incidenceAngle>{tie.incidence_deg:.15e}</incidenceAngle>"
            f"<elevationAngle>{tie.elevation_deg:.15e}</elevationAngle></geolocationGridPoint>"
        )
    inner = "\n".join(points)
    return (
        f'<geolocationGrid><geolocationGridPointList count="{len(points)}">\n{inner}\n'
        "</geolocationGridPointList></geolocationGrid>"
    )


def conversion(geometry: Geometry, time_s: float) -> tuple[FloatArray, FloatArray]:
    """Coefficients of slant → ground (origin: the near range) and ground → slant range at one time, constant first."""
    width = geometry.shape_yx[1] * PIXEL_SPACING_M
    ends = (-_REACH_M, width + _REACH_M)
    nodes = np.cos(np.pi * (np.arange(40) + 0.5) / 40)
    ground = 0.5 * (ends[0] + ends[1]) + 0.5 * (ends[1] - ends[0]) * nodes
    slant = geometry.ranges.slant_m(time_s, ground)
    near = geometry.ranges.near_range_m
    fits = (np.polynomial.Chebyshev.fit(x, y, _DEGREE) for x, y in ((slant - near, ground), (ground, slant)))
    to_ground, to_slant = (f.convert(kind=np.polynomial.Polynomial).coef for f in fits)
    return np.asarray(to_ground, np.float64), np.asarray(to_slant, np.float64)


def _conversions(product: Product) -> str:
    geometry = product.geometry
    near = geometry.ranges.near_range_m
    records = []
    # One record a second, from before the first line to after the last, as the processor writes them.
    for time_s in np.arange(geometry.first_line_s - 0.9, geometry.last_line_s + 1.0, 1.0):
        to_ground, to_slant = conversion(geometry, float(time_s))
        records.append(
            f"<coordinateConversion><azimuthTime>{_utc(product.at(float(time_s)))}</azimuthTime>"
            f"<slantRangeTime>{_two_way_s(near):.15e}</slantRangeTime><sr0>{near:.15e}</sr0>"
            f"{_list('srgrCoefficients', to_ground, '.15e')}<gr0>0.000000000000000e+00</gr0>"
            f"{_list('grsrCoefficients', to_slant, '.15e')}</coordinateConversion>"
        )
    inner = "\n".join(records)
    return (
        f'<coordinateConversion><coordinateConversionList count="{len(records)}">\n{inner}\n'
        "</coordinateConversionList></coordinateConversion>"
    )


def _merging(product: Product) -> str:
    found = sub_swaths(product.geometry)
    merges = "".join(
        f'<swathMerge><swath>{SWATHS[k]}</swath><swathBoundsList count="1"><swathBounds>'
        f"<azimuthTime>{_utc(product.start)}</azimuthTime><firstAzimuthLine>0</firstAzimuthLine>"
        f"<firstRangeSample>{first}</firstRangeSample>"
        f"<lastAzimuthLine>{product.geometry.shape_yx[0] - 1}</lastAzimuthLine>"
        f"<lastRangeSample>{last}</lastRangeSample></swathBounds></swathBoundsList></swathMerge>"
        for k, first, last in found
    )
    return f'<swathMerging><swathMergeList count="{len(found)}">{merges}</swathMergeList></swathMerging>'


def calibration_xml(product: Product, polarisation: str, table: Calibration) -> bytes:
    """annotation/calibration/calibration-*.xml of one polarisation."""
    vectors = []
    for line in table.line:
        lists = "".join(
            _list(name, values, ".6e")
            for name, values in (
                ("sigmaNought", table.sigma0),
                ("betaNought", table.beta0),
                ("gamma", table.gamma0),
                ("dn", table.dn),
            )
        )
        vectors.append(
            f"<calibrationVector><azimuthTime>{_utc(product.at(float(product.geometry.line_s(int(line)))))}</azimuthTime>"
            f"<line>{line}</line>{_list('pixel', table.pixel, 'd')}{lists}</calibrationVector>"
        )
    constant = f"<absoluteCalibrationConstant>{CALIBRATION_CONSTANT:.6e}</absoluteCalibrationConstant>"
    return _document(
        "calibration",
        [
            _header(product, polarisation),
            f"<calibrationInformation>{constant}</calibrationInformation>",
            f'<calibrationVectorList count="{len(vectors)}">',
            *vectors,
            "</calibrationVectorList>",
        ],
    )


def noise_xml(product: Product, polarisation: str, table: Noise) -> bytes:
    """annotation/calibration/noise-*.xml of one polarisation."""
    geometry = product.geometry
    vectors = [
        f"<noiseRangeVector><azimuthTime>{_utc(product.at(float(geometry.line_s(int(line)))))}</azimuthTime>"
        f"<line>{line}</line>{_list('pixel', table.pixel, 'd')}"
        f"{_list('noiseRangeLut', values, '.6e')}</noiseRangeVector>"
        for line, values in zip(table.line, table.power, strict=True)
    ]
    blocks = [
        f"<noiseAzimuthVector><swath>{SWATHS[block.swath]}</swath><firstAzimuthLine>0</firstAzimuthLine>"
        f"<firstRangeSample>{block.first_pixel}</firstRangeSample>"
        f"<lastAzimuthLine>{geometry.shape_yx[0] - 1}</lastAzimuthLine>"
        f"<lastRangeSample>{block.last_pixel}</lastRangeSample>"
        f"{_list('line', block.line, 'd')}{_list('noiseAzimuthLut', block.factor, '.6e')}</noiseAzimuthVector>"
        for block in table.blocks
    ]
    return _document(
        "noise",
        [
            _header(product, polarisation),
            f'<noiseRangeVectorList count="{len(vectors)}">',
            *vectors,
            f'</noiseRangeVectorList>\n<noiseAzimuthVectorList count="{len(blocks)}">',
            *blocks,
            "</noiseAzimuthVectorList>",
        ],
    )


_SPACES = {
    "xfdu": "urn:ccsds:schema:xfdu:1",
    "safe": "http://www.esa.int/safe/sentinel-1.0",
    "gml": "http://www.opengis.net/gml",
    "s1": "http://www.esa.int/safe/sentinel-1.0/sentinel-1",
    "s1sarl1": "http://www.esa.int/safe/sentinel-1.0/sentinel-1/sar/level-1",
}
_SATELLITES = {"S1A": "2014-016A", "S1B": "2016-025A"}


def manifest_xml(product: Product, sums: Mapping[str, tuple[int, str]]) -> bytes:
    """manifest.safe.

    Args:
        product: The product.
        sums: Size and MD5 of every other file, by its path in the folder.
    """
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in _SPACES.items())
    sections = [_processing(product), _platform(product), _orbit_reference(product)]
    wrapped = "\n".join(
        f'<metadataObject ID="{name}" classification="{kind}" category="{category}"><metadataWrap mimeType="text/xml" '
        f'vocabularyName="SAFE"><xmlData>{content}</xmlData></metadataWrap></metadataObject>'
        for name, kind, category, content in [*sections, *_general_sections(product, _information(product))]
    )
    objects = "\n".join(_data_object(path, *sums[path]) for path in sorted(sums))
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<xfdu:XFDU {spaces} '
        'version="esa/safe/sentinel-1.0/sentinel-1/sar/level-1/grd/standard/iwdp">\n'
        '<informationPackageMap><xfdu:contentUnit unitType="SAFE Archive Information Package" '
        'textInfo="Sentinel-1 IW Level-1 GRD Product" pdiID="processing"/></informationPackageMap>\n'
        f"<metadataSection>\n{wrapped}\n</metadataSection>\n<dataObjectSection>\n{objects}\n</dataObjectSection>\n"
        "</xfdu:XFDU>\n"
    ).encode()


def _processing(product: Product) -> tuple[str, str, str, str]:
    begun = product.stop + timedelta(hours=2)
    return (
        "processing",
        "PROVENANCE",
        "PDI",
        f'<safe:processing name="GRD Post Processing" start="{_utc(begun)}" '
        f'stop="{_utc(begun + timedelta(minutes=8))}">'
        '<safe:facility country="" name="Simulation of a demo region" organisation="" site="">'
        f'<safe:software name="Sentinel-1 IPF" version="{IPF_VERSION}"/></safe:facility></safe:processing>',
    )


def _platform(product: Product) -> tuple[str, str, str, str]:
    return (
        "platform",
        "DESCRIPTION",
        "DMD",
        f"<safe:platform><safe:nssdcIdentifier>{_SATELLITES[product.platform]}</safe:nssdcIdentifier>"
        f"<safe:familyName>SENTINEL-1</safe:familyName><safe:number>{product.platform[-1]}</safe:number>"
        '<safe:instrument><safe:familyName abbreviation="SAR">Synthetic Aperture Radar</safe:familyName>'
        "<safe:extension><s1sarl1:instrumentMode><s1sarl1:mode>IW</s1sarl1:mode><s1sarl1:swath>IW</s1sarl1:swath>"
        "</s1sarl1:instrumentMode></safe:extension></safe:instrument></safe:platform>",
    )


def _orbit_reference(product: Product) -> tuple[str, str, str, str]:
    relative = product.geometry.track.relative_orbit
    both = "".join(
        f'<safe:{name} type="{end}">{number}</safe:{name}>'
        for name, number in (("orbitNumber", product.absolute_orbit), ("relativeOrbitNumber", relative))
        for end in ("start", "stop")
    )
    return (
        "measurementOrbitReference",
        "DESCRIPTION",
        "DMD",
        f"<safe:orbitReference>{both}<safe:extension><s1:orbitProperties><s1:pass>{product.geometry.direction}</s1:pass>"
        f"<s1:ascendingNodeTime>{_utc(product.node)}</s1:ascendingNodeTime></s1:orbitProperties></safe:extension>"
        "</safe:orbitReference>",
    )


def _information(product: Product) -> str:
    received = "".join(
        f"<s1sarl1:transmitterReceiverPolarisation>{p}</s1sarl1:transmitterReceiverPolarisation>"
        for p in product.polarisations
    )
    return (
        "<s1sarl1:standAloneProductInformation>"
        f"<s1sarl1:missionDataTakeID>{product.datatake}</s1sarl1:missionDataTakeID>{received}"
        "<s1sarl1:productClass>S</s1sarl1:productClass>"
        "<s1sarl1:productClassDescription>SAR Standard L1 Product</s1sarl1:productClassDescription>"
        "<s1sarl1:productComposition>Individual</s1sarl1:productComposition>"
        "<s1sarl1:productType>GRD</s1sarl1:productType>"
        "<s1sarl1:productTimelinessCategory>Fast-24h</s1sarl1:productTimelinessCategory>"
        "<s1sarl1:sliceProductFlag>false</s1sarl1:sliceProductFlag></s1sarl1:standAloneProductInformation>"
    )


def _general_sections(product: Product, information: str) -> list[tuple[str, str, str, str]]:
    geometry = product.geometry
    period = (
        f"<safe:acquisitionPeriod><safe:startTime>{_utc(product.start)}</safe:startTime>"
        f"<safe:stopTime>{_utc(product.stop)}</safe:stopTime><safe:extension><s1:timeANX>"
        f"<s1:startTimeANX>{geometry.first_line_s * 1e3:.6e}</s1:startTimeANX>"
        f"<s1:stopTimeANX>{geometry.last_line_s * 1e3:.6e}</s1:stopTimeANX></s1:timeANX></safe:extension>"
        "</safe:acquisitionPeriod>"
    )
    corners = {(tie.line > 0, tie.pixel > 0): tie for tie in geometry.ties if _is_corner(geometry, tie.line, tie.pixel)}
    ring = [corners[key] for key in ((True, False), (True, True), (False, True), (False, False))]
    footprint = " ".join(f"{tie.lat_deg:.6f},{tie.lon_deg:.6f}" for tie in ring)
    frame = (
        '<safe:frameSet><safe:frame><safe:footPrint srsName="http://www.opengis.net/gml/srs/epsg.xml#4326">'
        f"<gml:coordinates>{footprint}</gml:coordinates></safe:footPrint></safe:frame></safe:frameSet>"
    )
    return [
        ("generalProductInformation", "DESCRIPTION", "DMD", information),
        ("acquisitionPeriod", "DESCRIPTION", "DMD", period),
        ("measurementFrameSet", "DESCRIPTION", "DMD", frame),
    ]


def _is_corner(geometry: Geometry, line: int, pixel: int) -> bool:
    lines, pixels = geometry.shape_yx
    return line in (0, lines - 1) and pixel in (0, pixels - 1)


def _data_object(path: str, size: int, md5: str) -> str:
    name = PurePosixPath(path)
    kind, mime = "s1Level1ProductSchema", "text/xml"
    if name.suffix == ".tiff":
        kind, mime = "s1Level1MeasurementSchema", "application/octet-stream"
    elif name.name.startswith("calibration-"):
        kind = "s1Level1CalibrationSchema"
    elif name.name.startswith("noise-"):
        kind = "s1Level1NoiseSchema"
    prefix = "product" if kind == "s1Level1ProductSchema" else ""
    return (
        f'<dataObject ID="{prefix}{name.stem.replace("-", "")}" repID="{kind}">'
        f'<byteStream mimeType="{mime}" size="{size}">'
        f'<fileLocation locatorType="URL" href="./{path}"/><checksum checksumName="MD5">{md5}</checksum></byteStream>'
        "</dataObject>"
    )
