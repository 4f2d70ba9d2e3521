"""Metadata of a Sentinel-2 Level-2A product: element names, nesting and attributes as in ESA's files.

Source: Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), and the layout of products of baselines 02.12
to 05.09. Elements that nothing in a small simulated product can fill (spectral responses, auxiliary file lists, masks)
are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

_SCHEMA = "https://psd-14.sentinel2.eo.esa.int/PSD/"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
# bandId of the metadata → (physical band, GSD in m, central wavelength of Sentinel-2A in nm).
BAND_IDS = {
    0: ("B01", 60, 442.7), 1: ("B02", 10, 492.7), 2: ("B03", 10, 559.8), 3: ("B04", 10, 664.6), 4: ("B05", 20, 704.1),
    5: ("B06", 20, 740.5), 6: ("B07", 20, 782.8), 7: ("B08", 10, 832.8), 8: ("B8A", 20, 864.7), 9: ("B09", 60, 945.1),
    10: ("B10", 60, 1373.5), 11: ("B11", 20, 1613.7), 12: ("B12", 20, 2202.4),
}  # fmt: skip
SCL_NAMES = (
    "SC_NODATA", "SC_SATURATED_DEFECTIVE", "SC_DARK_FEATURE_SHADOW", "SC_CLOUD_SHADOW", "SC_VEGETATION",
    "SC_NOT_VEGETATED", "SC_WATER", "SC_UNCLASSIFIED", "SC_CLOUD_MEDIUM_PROBA", "SC_CLOUD_HIGH_PROBA", "SC_THIN_CIRRUS",
    "SC_SNOW_ICE",
)  # fmt: skip
_SHARES = (
    ("DARK_FEATURES_PERCENTAGE", 2), ("CLOUD_SHADOW_PERCENTAGE", 3), ("VEGETATION_PERCENTAGE", 4),
    ("NOT_VEGETATED_PERCENTAGE", 5), ("WATER_PERCENTAGE", 6), ("UNCLASSIFIED_PERCENTAGE", 7),
    ("MEDIUM_PROBA_CLOUDS_PERCENTAGE", 8), ("HIGH_PROBA_CLOUDS_PERCENTAGE", 9), ("THIN_CIRRUS_PERCENTAGE", 10),
    ("SNOW_ICE_PERCENTAGE", 11),
)  # fmt: skip
CENTRE = "2APS"


@dataclass(frozen=True)
class L2AProduct:
    """What the metadata of one product says.

    Attributes:
        when: Sensing start, UTC.
        made: Time of processing, UTC; the discriminator of the product's name.
        baseline: Processing baseline, e.g. ``05.09``; from 04.00 on, products carry a radiometric offset.
        offset: ``BOA_ADD_OFFSET`` in DN, or None to leave the element out.
        platform: ``S2A``, ``S2B`` or ``S2C``.
        tile: MGRS tile without the T.
        relative_orbit: 1 to 143.
        absolute_orbit: Orbit number since launch.
        epsg: UTM zone.
        origin_m: (left, top) of the granule.
        shape_10m: (rows, cols) of the 10 m bands.
        sun_deg: (zenith, azimuth) of the sun.
        view_deg: (zenith, azimuth) of the sensor.
    """

    when: datetime
    made: datetime
    baseline: str
    offset: int | None
    platform: str
    tile: str
    relative_orbit: int
    absolute_orbit: int
    epsg: int
    origin_m: tuple[float, float]
    shape_10m: tuple[int, int]
    sun_deg: tuple[float, float]
    view_deg: tuple[float, float]

    @property
    def name(self) -> str:
        """Product name with ``.SAFE``."""
        return (
            f"{self.platform}_MSIL2A_{self.when:%Y%m%dT%H%M%S}_N{self.baseline.replace('.', '')}"
            f"_R{self.relative_orbit:03d}_T{self.tile}_{self.made:%Y%m%dT%H%M%S}.SAFE"
        )

    @property
    def strip(self) -> datetime:
        """Sensing start of the datastrip, a few seconds after the datatake's."""
        return self.when + timedelta(seconds=3)

    @property
    def granule(self) -> str:
        """Folder of the granule."""
        return f"L2A_T{self.tile}_A{self.absolute_orbit:06d}_{self.strip:%Y%m%dT%H%M%S}"

    @property
    def datastrip_id(self) -> str:
        """Identifier of the datastrip."""
        return (
            f"{self.platform}_OPER_MSI_L2A_DS_{CENTRE}_{self.made:%Y%m%dT%H%M%S}"
            f"_S{self.strip:%Y%m%dT%H%M%S}_N{self.baseline}"
        )

    @property
    def granule_id(self) -> str:
        """Identifier of the granule."""
        return (
            f"{self.platform}_OPER_MSI_L2A_TL_{CENTRE}_{self.made:%Y%m%dT%H%M%S}"
            f"_A{self.absolute_orbit:06d}_T{self.tile}_N{self.baseline}"
        )

    def image(self, band: str, gsd_m: int) -> str:
        """Path of a band's image inside the SAFE folder, without extension, as IMAGE_FILE lists it."""
        return f"GRANULE/{self.granule}/IMG_DATA/R{gsd_m}m/T{self.tile}_{self.when:%Y%m%dT%H%M%S}_{band}_{gsd_m}m"


def _add(parent: ET.Element, tag: str, text: object = None, **attributes: object) -> ET.Element:
    element = ET.SubElement(parent, tag, {key: str(value) for key, value in attributes.items()})
    if text is not None:
        element.text = str(text)
    return element


def _root(kind: str, schema: str) -> ET.Element:
    # Prefixes are written by hand: ElementTree's own table of them is shared by all threads.
    namespace = f"{_SCHEMA}{schema}"
    declared = {"xmlns:n1": namespace, "xmlns:xsi": _XSI, "xsi:schemaLocation": f"{namespace} {namespace}"}
    return ET.Element(f"n1:{kind}", declared)


def _section(root: ET.Element, name: str) -> ET.Element:
    return ET.SubElement(root, f"n1:{name}")


def _bytes(root: ET.Element) -> bytes:
    ET.indent(root, "  ")
    head = b'<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n'
    body: bytes = ET.tostring(root, encoding="utf-8")
    return head + body + b"\n"


def _iso(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%S}.024Z"


def product_xml(product: L2AProduct, images: Mapping[str, int], scl: NDArray[np.uint8]) -> bytes:
    """``MTD_MSIL2A.xml``.

    Args:
        product: What to say.
        images: GSD in metres by band of the images that are there, ``SCL`` included, in the order to list.
        scl: Scene classification at 20 m, for the cloud and content percentages.
    """
    root = _root("Level-2A_User_Product", "User_Product_Level-2A.xsd")
    general = _section(root, "General_Info")
    _product_info(general, product, images)
    _characteristics(general, product)
    geometry = _section(root, "Geometric_Info")
    outline = _add(geometry, "Product_Footprint")
    _add(_add(_add(outline, "Product_Footprint"), "Global_Footprint"), "EXT_POS_LIST", _positions(product))
    _add(outline, "RASTER_CS_TYPE", "POINT")
    _add(outline, "PIXEL_ORIGIN", 1)
    reference = _add(geometry, "Coordinate_Reference_System")
    _add(reference, "GEO_TABLES", "EPSG", version=1)
    _add(reference, "HORIZONTAL_CS_TYPE", "GEOGRAPHIC")
    quality = _section(root, "Quality_Indicators_Info")
    _add(quality, "Cloud_Coverage_Assessment", f"{cloud_percent(scl):.6f}")
    technical = _add(quality, "Technical_Quality_Assessment")
    _add(technical, "DEGRADED_ANC_DATA_PERCENTAGE", "0.0")
    _add(technical, "DEGRADED_MSI_DATA_PERCENTAGE", 0)
    _content(_add(quality, "Image_Content_QI"), scl)
    return _bytes(root)


def _product_info(general: ET.Element, product: L2AProduct, images: Mapping[str, int]) -> None:
    info = _add(general, "Product_Info")
    for tag, text in (
        ("PRODUCT_START_TIME", _iso(product.when)),
        ("PRODUCT_STOP_TIME", _iso(product.when)),
        ("PRODUCT_URI", product.name),
        ("PROCESSING_LEVEL", "Level-2A"),
        ("PRODUCT_TYPE", "S2MSI2A"),
        ("PROCESSING_BASELINE", product.baseline),
        ("GENERATION_TIME", f"{product.made:%Y-%m-%dT%H:%M:%S}.000000Z"),
        ("PREVIEW_IMAGE_URL", "Not applicable"),
        ("PREVIEW_GEO_INFO", "Not applicable"),
    ):
        _add(info, tag, text)
    identifier = f"G{product.platform}_{product.when:%Y%m%dT%H%M%S}_{product.absolute_orbit:06d}_N{product.baseline}"
    take = _add(info, "Datatake", datatakeIdentifier=identifier)
    _add(take, "SPACECRAFT_NAME", f"Sentinel-{product.platform[1:]}")
    _add(take, "DATATAKE_TYPE", "INS-NOBS")
    _add(take, "DATATAKE_SENSING_START", _iso(product.when))
    _add(take, "SENSING_ORBIT_NUMBER", product.relative_orbit)
    _add(take, "SENSING_ORBIT_DIRECTION", "DESCENDING")
    _add(_add(info, "Query_Options", completeSingleTile="true"), "PRODUCT_FORMAT", "SAFE_COMPACT")
    granules = _add(_add(info, "Product_Organisation"), "Granule_List")
    granule = _add(
        granules,
        "Granule",
        datastripIdentifier=product.datastrip_id,
        granuleIdentifier=product.granule_id,
        imageFormat="JPEG2000",
    )
    for band, gsd_m in images.items():
        _add(granule, "IMAGE_FILE", product.image(band, gsd_m))


def _characteristics(general: ET.Element, product: L2AProduct) -> None:
    image = _add(general, "Product_Image_Characteristics")
    for text, index in (("NODATA", 0), ("SATURATED", 65535)):
        special = _add(image, "Special_Values")
        _add(special, "SPECIAL_VALUE_TEXT", text)
        _add(special, "SPECIAL_VALUE_INDEX", index)
    order = _add(image, "Image_Display_Order")
    for tag, channel in (("RED_CHANNEL", 3), ("GREEN_CHANNEL", 2), ("BLUE_CHANNEL", 1)):
        _add(order, tag, channel)
    scales = _add(image, "QUANTIFICATION_VALUES_LIST")
    _add(scales, "BOA_QUANTIFICATION_VALUE", 10000, unit="none")
    _add(scales, "AOT_QUANTIFICATION_VALUE", "1000.0", unit="none")
    _add(scales, "WVP_QUANTIFICATION_VALUE", "1000.0", unit="cm")
    if product.offset is not None:
        offsets = _add(image, "BOA_ADD_OFFSET_VALUES_LIST")
        for band_id in BAND_IDS:
            _add(offsets, "BOA_ADD_OFFSET", product.offset, band_id=band_id)
    spectral = _add(image, "Spectral_Information_List")
    for band_id, (band, gsd_m, centre_nm) in BAND_IDS.items():
        physical = "B" + (band[1:].lstrip("0"))
        entry = _add(spectral, "Spectral_Information", bandId=band_id, physicalBand=physical)
        _add(entry, "RESOLUTION", gsd_m)
        _add(_add(entry, "Wavelength"), "CENTRAL", centre_nm, unit="nm")
    classes = _add(image, "Scene_Classification_List")
    for index, name in enumerate(SCL_NAMES):
        entry = _add(classes, "Scene_Classification_ID")
        _add(entry, "SCENE_CLASSIFICATION_TEXT", name)
        _add(entry, "SCENE_CLASSIFICATION_INDEX", index)


def cloud_percent(scl: NDArray[np.uint8]) -> float:
    """Cloud share as the product states it: classes 8, 9 and 10 among the pixels with data."""
    data = scl != 0
    return float(100 * np.isin(scl, (8, 9, 10)).sum() / max(int(data.sum()), 1))


def _content(parent: ET.Element, scl: NDArray[np.uint8]) -> None:
    data = max(int((scl != 0).sum()), 1)
    _add(parent, "NODATA_PIXEL_PERCENTAGE", f"{100 * float((scl == 0).mean()):.6f}")
    _add(parent, "SATURATED_DEFECTIVE_PIXEL_PERCENTAGE", f"{100 * float((scl == 1).sum()) / data:.6f}")
    for tag, value in _SHARES:
        _add(parent, tag, f"{100 * float((scl == value).sum()) / data:.6f}")


def _positions(product: L2AProduct) -> str:
    """Outline as latitude-longitude pairs, closed."""
    left, top = product.origin_m
    right, bottom = left + 10 * product.shape_10m[1], top - 10 * product.shape_10m[0]
    to_geographic = Transformer.from_crs(product.epsg, 4326, always_xy=True)
    lon, lat = to_geographic.transform([left, right, right, left, left], [top, top, bottom, bottom, top])
    return " ".join(f"{a:.12f} {o:.12f}" for a, o in zip(lat, lon, strict=True)) + " "


def tile_xml(product: L2AProduct, scl: NDArray[np.uint8]) -> bytes:
    """``MTD_TL.xml``: geocoding per resolution, sun and viewing angles, content."""
    root = _root("Level-2A_Tile_ID", "S2_PDI_Level-2A_Tile_Metadata.xsd")
    general = _section(root, "General_Info")
    level1 = product.granule_id.replace("_L2A_", "_L1C_")
    _add(general, "L1C_TILE_ID", level1, metadataLevel="Brief")
    _add(general, "TILE_ID", product.granule_id, metadataLevel="Brief")
    _add(general, "DATASTRIP_ID", product.datastrip_id, metadataLevel="Standard")
    _add(general, "DOWNLINK_PRIORITY", "NOMINAL", metadataLevel="Standard")
    _add(general, "SENSING_TIME", _iso(product.strip), metadataLevel="Standard")
    geometry = _section(root, "Geometric_Info")
    _geocoding(_add(geometry, "Tile_Geocoding", metadataLevel="Brief"), product)
    angles = _add(geometry, "Tile_Angles", metadataLevel="Standard")
    _angle_grids(_add(angles, "Sun_Angles_Grid"), product.sun_deg)
    _angles(_add(angles, "Mean_Sun_Angle"), product.sun_deg)
    for band_id in BAND_IDS:
        _angle_grids(_add(angles, "Viewing_Incidence_Angles_Grids", bandId=band_id, detectorId=6), product.view_deg)
    means = _add(angles, "Mean_Viewing_Incidence_Angle_List")
    for band_id in BAND_IDS:
        _angles(_add(means, "Mean_Viewing_Incidence_Angle", bandId=band_id), product.view_deg)
    quality = _section(root, "Quality_Indicators_Info")
    quality.set("metadataLevel", "Standard")
    content = _add(quality, "Image_Content_QI")
    _add(content, "CLOUDY_PIXEL_PERCENTAGE", f"{cloud_percent(scl):.6f}")
    _add(content, "DEGRADED_MSI_DATA_PERCENTAGE", 0)
    _content(content, scl)
    return _bytes(root)


def _geocoding(parent: ET.Element, product: L2AProduct) -> None:
    zone, hemisphere = product.epsg % 100, "N" if product.epsg < 32700 else "S"
    _add(parent, "HORIZONTAL_CS_NAME", f"WGS84 / UTM zone {zone:02d}{hemisphere}")
    _add(parent, "HORIZONTAL_CS_CODE", f"EPSG:{product.epsg}")
    sizes = (10, 20, 60)
    for gsd_m in sizes:
        size = _add(parent, "Size", resolution=gsd_m)
        _add(size, "NROWS", product.shape_10m[0] * 10 // gsd_m)
        _add(size, "NCOLS", product.shape_10m[1] * 10 // gsd_m)
    for gsd_m in sizes:
        position = _add(parent, "Geoposition", resolution=gsd_m)
        _add(position, "ULX", f"{product.origin_m[0]:.0f}")
        _add(position, "ULY", f"{product.origin_m[1]:.0f}")
        _add(position, "XDIM", gsd_m)
        _add(position, "YDIM", -gsd_m)


def _angles(parent: ET.Element, pair_deg: tuple[float, float]) -> None:
    _add(parent, "ZENITH_ANGLE", f"{pair_deg[0]:.9f}", unit="deg")
    _add(parent, "AZIMUTH_ANGLE", f"{pair_deg[1]:.9f}", unit="deg")


def _angle_grids(parent: ET.Element, pair_deg: tuple[float, float]) -> None:
    """Grids of 5 km; over so few kilometres the angles are constant."""
    for tag, value in zip(("Zenith", "Azimuth"), pair_deg, strict=True):
        grid = _add(parent, tag)
        _add(grid, "COL_STEP", 5000, unit="m")
        _add(grid, "ROW_STEP", 5000, unit="m")
        values = _add(grid, "Values_List")
        for _ in range(2):
            _add(values, "VALUES", f"{value:.4f} {value:.4f}")


def manifest_xml(files: Mapping[str, tuple[int, str]]) -> bytes:
    """``manifest.safe``: the files of the product with size and MD5.

    Args:
        files: ``{path inside the SAFE folder: (bytes, MD5 in hexadecimal)}``.
    """
    version = "esa/safe/sentinel/1.1/sentinel-2/msi/archive_l2a_user_product"
    root = ET.Element("xfdu:XFDU", {"xmlns:xfdu": "urn:ccsds:schema:xfdu:1", "version": version})
    section = _add(root, "dataObjectSection")
    for number, (path, (size, digest)) in enumerate(sorted(files.items())):
        entry = _add(section, "dataObject", ID=f"Data_{number:03d}")
        mime = "text/xml" if path.endswith(".xml") else "application/octet-stream"
        stream = _add(entry, "byteStream", mimeType=mime, size=size)
        _add(stream, "fileLocation", href=f"./{path}", locatorType="URL")
        _add(stream, "checksum", digest, checksumName="MD5")
    return _bytes(root)
