"""QGIS styles (``.qml``) beside the rasters: QGIS loads a style of the raster's own stem by itself."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from landcover_cli.labels.legend import Legend

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


def class_style(legend: Legend) -> str:
    """Paletted style: every class with its colour and its name."""
    root, renderer = _style("paletted")
    palette = SubElement(renderer, "colorPalette")
    for index, item in enumerate(legend.classes):
        SubElement(palette, "paletteEntry", value=str(index), color=item.color, label=item.name, alpha="255")
    return _text(root)


def ramp_style(low: float, high: float, unit: str) -> str:
    """Colour ramp of band 1 from `low` (dark) to `high` (bright), in physical values."""
    root, renderer = _style("singlebandpseudocolor")
    renderer.set("classificationMin", f"{low:g}")
    renderer.set("classificationMax", f"{high:g}")
    shader = SubElement(renderer, "rastershader")
    ramp = SubElement(
        shader,
        "colorrampshader",
        colorRampType="INTERPOLATED",
        classificationMode="1",
        clip="0",
        minimumValue=f"{low:g}",
        maximumValue=f"{high:g}",
    )
    for value, color in ((low, "#440154"), ((low + high) / 2, "#21908d"), (high, "#fde725")):
        SubElement(ramp, "item", value=f"{value:g}", color=color, label=f"{value:g}{unit}", alpha="255")
    return _text(root)


def write_style(raster: Path, style: str) -> Path:
    """Write ``<stem>.qml`` beside a raster; returns its path.

    Raises:
        OSError: Not writable.
    """
    target = raster.with_suffix(".qml")
    target.write_text(style, encoding="utf-8")
    return target


def _style(kind: str) -> tuple[Element, Element]:
    root = Element("qgis", version="3.28", styleCategories="Symbology")
    pipe = SubElement(root, "pipe")
    renderer = SubElement(pipe, "rasterrenderer", type=kind, band="1", opacity="1", alphaBand="-1", nodataColor="")
    SubElement(renderer, "rasterTransparency")
    return root, renderer


def _text(root: Element) -> str:
    indent(root, "  ")
    return _DOCTYPE + tostring(root, encoding="unicode") + "\n"
