"""Sentinel-2 products of Level-1C and Level-2A, SAFE folder or zip: metadata, and where each band lies; no pixels.

Bands are taken from the list of image files in the product's metadata, never by listing folders, so that leftovers of
an interrupted download or of another tool are not mistaken for bands. Source: Sentinel-2 Products Specification
Document, user products of both levels; seen with baselines 02.07 to 05.11.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree as ET

from landcover_cli.core.types import Asset, Scene
from landcover_cli.errors import InputError
from landcover_cli.io.safe_archive import SafeArchive, open_archive

_IMAGE = re.compile(r"_(B\d{1,2}A?|SCL)(?:_(10|20|60)m)?$")
_EXTENSIONS = (".jp2", ".tif", ".tiff")
_QUALITY = re.compile(r"/QI_DATA/MSK_(CLASSI_B00|QUALIT_B\w\w)\.jp2$")
_LEVELS = {"L1C": "Level-1C", "L2A": "Level-2A"}
_MTD = re.compile(r"MTD_MSI(L\w\w)\.xml", re.IGNORECASE)


def read_safe_s2(path: Path, level: Literal["L1C", "L2A"] | None = "L2A") -> Scene:
    """Describe a Sentinel-2 product.

    Args:
        path: SAFE folder, or zip as downloaded.
        level: Refuse the other one; None takes either.

    Returns:
        The scene of sensor ``sentinel2`` or ``sentinel2_l1c``. ``metadata`` holds ``safe`` (the path), ``level``,
        ``baseline``, ``boa_add_offset`` or ``radio_add_offset`` (DN; 0 where the element is absent), ``datatake``,
        ``datastrip``, ``tile``, ``orbit``, ``orbit_direction``, ``cloud_percent`` (None where absent). Each band is
        taken at its finest resolution. Masks of the product (baseline ≥ 04.00) are assets ``CLASSI_1`` … ``CLASSI_3``
        and ``QUALIT_B02_1`` … ``QUALIT_B02_8``, by the layers of their files.

    Raises:
        InputError: No product, of another level, several tiles, damaged metadata, or no image file at all.
    """
    archive = open_safe_s2(path)
    member = next((name for name in sorted(archive.sizes) if _MTD.fullmatch(name)), None)
    if member is None:
        raise InputError(
            f"{path}: no MTD_MSI{level or 'L2A'}.xml, so it is no Sentinel-2 product", remedy="check the path"
        )
    root = archive.read_xml(member)
    found = _level(root, path, level)
    granules = [element for element in root.iter() if _tag(element) == "Granule"]
    if len(granules) != 1:
        raise InputError(
            f"{path}: holds {len(granules)} granules instead of one", remedy="use products of one tile (since 2016-12)"
        )
    uri = _text(root, "PRODUCT_URI") or archive.root
    scene_id = re.sub(r"[^A-Za-z0-9._-]", "_", uri.removesuffix(".SAFE"))
    assets = _assets(archive, granules[0], path) | _quality(archive)
    return Scene(
        id=scene_id,
        sensor="sentinel2" if found == "L2A" else "sentinel2_l1c",
        datetime=_time(root, path),
        footprint=_footprint(root, path),
        assets=assets,
        metadata={"safe": str(path), "level": found, **_facts(root, granules[0], path, found)},
    )


def _level(root: ET.Element, path: Path, wanted: str | None) -> str:
    stated = _text(root, "PROCESSING_LEVEL") or ""
    level = next((short for short, text in _LEVELS.items() if stated.startswith(text)), None)
    if level is None or wanted not in {None, level}:
        asked = _LEVELS[wanted] if wanted else "Level-1C or Level-2A"
        raise InputError(
            f"{path}: processing level is {stated or 'not stated'!r}, not {asked}",
            remedy=f"use the {asked} product of the same scene",
        )
    return level


def require_bands(scene: Scene, bands: tuple[str, ...], name: str) -> None:
    """Refuse a scene that lacks a band.

    Raises:
        InputError: Names the scene, the band and what there is.
    """
    missing = [band for band in bands if band not in scene.assets]
    if missing:
        raise InputError(
            f"{name}: band {missing[0]} is missing (found: {', '.join(sorted(scene.assets)) or 'none'})",
            remedy="download the product whole, or leave the band out of the source's `bands`",
        )


def open_safe_s2(path: Path) -> SafeArchive:
    """The files of a product, with or without a manifest.

    Raises:
        InputError: Neither a folder nor a readable zip of a product.
    """
    # Copies without manifest.safe are common (single folders from object stores); the product's own metadata decides.
    if path.is_dir() and not (path / "manifest.safe").is_file():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        sizes = {p.relative_to(path).as_posix(): p.stat().st_size for p in files}
        return SafeArchive(path=path, root=path.name, is_zip=False, sizes=sizes)
    return open_archive(path, family="Sentinel-2")


def _assets(archive: SafeArchive, granule: ET.Element, path: Path) -> dict[str, Asset]:
    finest: dict[str, tuple[int, str]] = {}
    listed = [(e.text or "").strip() for e in granule.iter() if _tag(e) in {"IMAGE_FILE", "IMAGE_ID"}]
    for stem in listed:
        match = _IMAGE.search(stem)
        if not match:
            continue
        # B01 and B1 are both in use in the oldest products.
        band = match[1] if len(match[1]) == 3 else f"B0{match[1][1:]}"
        gsd_m = int(match[2] or 0)
        member = next((stem + ext for ext in _EXTENSIONS if stem + ext in archive.sizes), None)
        if member and (band not in finest or gsd_m < finest[band][0]):
            finest[band] = (gsd_m, member)
    if not finest:
        raise InputError(
            f"{path}: a SAFE without imagery: none of its {len(listed)} image files is there",
            remedy="download the product whole; metadata alone is not enough",
        )
    return {
        band: Asset(archive.gdal_path(member), metadata={"gsd_m": gsd_m})
        for band, (gsd_m, member) in sorted(finest.items())
    }


def _quality(archive: SafeArchive) -> dict[str, Asset]:
    """Masks that come as rasters; older products hold vectors instead."""
    found = [(match[1], name) for name in sorted(archive.sizes) if (match := _QUALITY.search(name))]
    return {
        f"{key.removesuffix('_B00')}_{band}": Asset(archive.gdal_path(name), band)
        for key, name in found
        for band in range(1, (3 if key == "CLASSI_B00" else 8) + 1)
    }


def _facts(root: ET.Element, granule: ET.Element, path: Path, level: str) -> dict[str, Any]:
    names = ["QUANTIFICATION_VALUE"]
    if level == "L2A":
        names = ["BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE"]
    scale = next((text for text in (_text(root, name) for name in names) if text), "10000")
    if _number(scale, path) != 10000:
        raise InputError(f"{path}: {names[0]} is {scale}, not 10000", remedy="this product is not supported")
    tag = "BOA_ADD_OFFSET" if level == "L2A" else "RADIO_ADD_OFFSET"
    offsets = {_number(e.text or "", path) for e in root.iter() if _tag(e) == tag}
    if len(offsets) > 1:
        raise InputError(
            f"{path}: {tag} differs between bands: {sorted(offsets)}", remedy="this product is not supported"
        )
    datatake = next((e for e in root.iter() if _tag(e) == "Datatake"), None)
    cloud = _text(root, "Cloud_Coverage_Assessment") or _text(root, "CLOUD_COVERAGE_ASSESSMENT")
    name = granule.get("granuleIdentifier", "")
    tile = re.search(r"_T(\d{2}[A-Z]{3})", name)
    return {
        "baseline": _text(root, "PROCESSING_BASELINE") or "",
        tag.lower(): offsets.pop() if offsets else 0.0,
        "datatake": datatake.get("datatakeIdentifier", "") if datatake is not None else "",
        "datastrip": granule.get("datastripIdentifier", ""),
        "tile": tile[1] if tile else "",
        "orbit": _text(root, "SENSING_ORBIT_NUMBER") or "",
        "orbit_direction": (_text(root, "SENSING_ORBIT_DIRECTION") or "").lower(),
        "cloud_percent": _number(cloud, path) if cloud else None,
    }


def _footprint(root: ET.Element, path: Path) -> dict[str, Any]:
    text = _text(root, "EXT_POS_LIST")
    if not text:
        raise InputError(f"{path}: the metadata holds no footprint", remedy="download the product again")
    values = [_number(word, path) for word in text.split()]
    if len(values) % 2 or len(values) < 8:
        raise InputError(f"{path}: the footprint has {len(values)} numbers", remedy="download the product again")
    # Positions are latitude first.
    ring = [[lon, lat] for lat, lon in zip(values[::2], values[1::2], strict=True)]
    if ring[0] != ring[-1]:
        ring.append(ring[0])
    return {"type": "Polygon", "coordinates": [ring]}


def _time(root: ET.Element, path: Path) -> datetime:
    text = _text(root, "PRODUCT_START_TIME") or _text(root, "DATATAKE_SENSING_START") or ""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{path}: PRODUCT_START_TIME is {text!r}", remedy="download the product again") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _number(text: str, path: Path) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{path}: {text!r} is no number", remedy="download the product again") from None


def _tag(element: ET.Element) -> str:
    return element.tag.rsplit("}", 1)[-1] if isinstance(element.tag, str) else ""


def _named(root: ET.Element, tag: str) -> Iterator[ET.Element]:
    return (element for element in root.iter() if _tag(element) == tag)


def _text(root: ET.Element, tag: str) -> str | None:
    element = next(_named(root, tag), None)
    return element.text.strip() if element is not None and element.text else None
