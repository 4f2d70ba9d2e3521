"""GDAL's side file ``<raster>.aux.xml``: category names and the raster attribute table of a class map.

GeoTIFF has no place for either; GDAL and QGIS read them from this file (GDAL's Persistent Auxiliary Metadata). The
table keeps the legend's own code of every class, which a compact index cannot.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from landcover_cli.labels.legend import Legend

# GDALRATFieldType and GDALRATFieldUsage of gdal.h.
_TYPES = {"Integer": 0, "Real": 1, "String": 2}
_USAGES = {"Generic": 0, "PixelCount": 1, "Name": 2, "MinMax": 5, "Red": 6, "Green": 7, "Blue": 8, "Alpha": 9}


def class_pam(legend: Legend) -> ElementTree:
    """The side file of a class map: names by index, and a thematic table of index, code, name, colour, description."""
    root = Element("PAMDataset")
    band = SubElement(root, "PAMRasterBand", band="1")
    SubElement(band, "ColorInterp").text = "Palette"
    names = SubElement(band, "CategoryNames")
    for item in legend.classes:
        SubElement(names, "Category").text = item.name
    table = SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    columns = (
        ("Value", "Integer", "MinMax"),
        ("Code", "Integer", "Generic"),
        ("Name", "String", "Name"),
        ("Red", "Integer", "Red"),
        ("Green", "Integer", "Green"),
        ("Blue", "Integer", "Blue"),
        ("Alpha", "Integer", "Alpha"),
        ("Description", "String", "Generic"),
    )
    for index, (name, kind, usage) in enumerate(columns):
        column = SubElement(table, "FieldDefn", index=str(index))
        SubElement(column, "Name").text = name
        SubElement(column, "Type", typeAsString=kind).text = str(_TYPES[kind])
        SubElement(column, "Usage", usageAsString=usage).text = str(_USAGES[usage])
    for index, item in enumerate(legend.classes):
        row = SubElement(table, "Row", index=str(index))
        for value in (index, item.code, item.name, *item.rgb, 255, item.description):
            SubElement(row, "F").text = str(value)
    return ElementTree(root)


def write_class_pam(raster: Path, legend: Legend) -> Path:
    """Write ``<raster>.aux.xml`` beside a class map; returns its path.

    Raises:
        OSError: Not writable.
    """
    target = raster.with_name(raster.name + ".aux.xml")
    _write(class_pam(legend), target)
    return target


def _write(tree: ElementTree, target: Path) -> None:
    indent(tree, "  ")
    with target.open("wb") as handle:
        tree.write(handle, encoding="utf-8", xml_declaration=False)
        handle.write(b"\n")
