"""Angles of sun and sensor over a Sentinel-2 tile, from the granule's metadata.

Source: Sentinel-2 Products Specification Document, Tile_Angles: grids of 23 × 23 nodes every 5 km; those of the sensor
one per band and detector, NaN where the detector saw nothing. Bands go by the attribute `bandId`, in any order.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from landcover_cli.errors import InputError
from landcover_cli.io.safe_s2 import open_safe_s2
from landcover_cli.optical.masking import ANGLES

BAND_IDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""Bands by their `bandId`."""
CELL_M = 5000.0
Grid = NDArray[np.float64]


def read_angles(product: Path, band: str = "B8A") -> dict[str, Grid]:
    """Angles in degrees over a tile.

    Args:
        product: SAFE folder or zip.
        band: Band of the sensor's angles.

    Returns:
        Name of `ANGLES` → [22, 22] means of the cells of 5 km, row 0 in the north; azimuths clockwise from north
        towards sun and sensor. Cells that the sensor did not see have the mean of the others.

    Raises:
        InputError: The granule's metadata is missing, or holds no usable angles.
    """
    band_id = str(BAND_IDS.index(band))
    archive = open_safe_s2(product)
    member = next((name for name in sorted(archive.sizes) if name.rsplit("/", 1)[-1].upper() == "MTD_TL.XML"), None)
    if member is None:
        raise InputError(f"{product}: MTD_TL.xml is missing", remedy="download the product whole")
    root = archive.read_xml(member)
    found = f"{product}: {member}"
    sun = next((e for e in root.iter() if _tag(e) == "Sun_Angles_Grid"), None)
    if sun is None:
        raise InputError(f"{found} holds no grid of sun angles", remedy="download the product again")
    views = [
        e
        for e in root.iter()
        if _tag(e) == "Viewing_Incidence_Angles_Grids" and e.get("bandId") in {band_id, f"B{band_id}"}
    ]
    sun_xy = _vectors(sun, found)
    detectors = [_vectors(e, found) for e in views]
    # Partial products at the edge of a datatake can lack the grids; nadir is within 12° of the truth.
    view_xy = _detector_mean(detectors) if detectors else np.zeros_like(sun_xy)
    return dict(zip(ANGLES, (*_angles(sun_xy), *_angles(view_xy)), strict=True))


def _vectors(grid: ET.Element, found: str) -> Grid:
    """[2, rows, columns] tangent of the zenith towards east and north at the nodes."""
    zenith, azimuth = (_values(grid, name, found) for name in ("Zenith", "Azimuth"))
    if zenith.shape != azimuth.shape or min(zenith.shape) < 2:
        raise InputError(f"{found}: grids of {zenith.shape} and {azimuth.shape} angles", remedy="download it again")
    slope = np.tan(np.radians(zenith))
    return np.stack([slope * np.sin(np.radians(azimuth)), slope * np.cos(np.radians(azimuth))])


def _values(grid: ET.Element, name: str, found: str) -> Grid:
    part = next((e for e in grid if _tag(e) == name), None)
    rows = [e.text or "" for e in part.iter() if _tag(e) == "VALUES"] if part is not None else []
    try:
        values = np.array([[float(word) for word in row.split()] for row in rows], np.float64)
    except ValueError as error:
        raise InputError(f"{found}: angles are no numbers ({error})", remedy="download the product again") from None
    if values.ndim != 2:
        raise InputError(f"{found}: {name} of a grid of angles is missing", remedy="download the product again")
    return values


def _detector_mean(detectors: list[Grid]) -> Grid:
    """Mean over the detectors that saw a node; the mean of all nodes where none did."""
    stack = np.stack(detectors)
    seen = np.isfinite(stack)
    number = seen.sum(axis=0)
    total = np.where(seen, stack, 0.0).sum(axis=0)
    if not number.any():
        return np.zeros_like(total)
    overall = total.sum(axis=(1, 2)) / np.maximum(number.sum(axis=(1, 2)), 1)
    return np.where(number > 0, total / np.maximum(number, 1), overall[:, None, None])


def _angles(xy: Grid) -> tuple[Grid, Grid]:
    """Zenith and azimuth of the cells between the nodes, degrees."""
    east, north = (xy[:, :-1, :-1] + xy[:, :-1, 1:] + xy[:, 1:, :-1] + xy[:, 1:, 1:]) / 4.0
    return np.degrees(np.arctan(np.hypot(east, north))), np.degrees(np.arctan2(east, north)) % 360.0


def _tag(element: ET.Element) -> str:
    return element.tag.rsplit("}", 1)[-1] if isinstance(element.tag, str) else ""
