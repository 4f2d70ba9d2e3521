"""Landsat 8 and 9 products of Collection 2 Level 2: a folder or a tar as delivered. No pixel is read here.

Bands are taken from the file names in the product's metadata (MTL as XML, JSON or text), never by listing. Source:
Landsat 8-9 Collection 2 Level 2 Science Product Guide, and the Data Format Control Book LSDS-1822.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from landcover_cli.core.types import Asset, Scene
from landcover_cli.errors import InputError
from landcover_cli.io.safe_archive import parse_xml

_MTL = re.compile(r"_MTL\.(xml|json|txt)$", re.IGNORECASE)
_ORDER = ("xml", "json", "txt")
_MOST_BYTES = 4_000_000
_LAYERS = {
    "QUALITY_L1_PIXEL": "QA_PIXEL",
    "QUALITY_L1_RADIOMETRIC_SATURATION": "QA_RADSAT",
}
_CORNERS = ("UL", "LL", "LR", "UR", "UL")


@dataclass(frozen=True)
class _Files:
    """Names of a product's files and how to reach them."""

    path: Path
    names: tuple[str, ...]
    tar: bool

    def read(self, name: str) -> bytes:
        if not self.tar:
            return (self.path / name).read_bytes()
        with tarfile.open(self.path) as archive:
            member = archive.extractfile(name)
            assert member is not None
            return member.read(_MOST_BYTES)

    def gdal_path(self, name: str) -> str:
        return f"/vsitar/{{{self.path.resolve()}}}/{name}" if self.tar else str(self.path / name)


def read_landsat(path: Path) -> Scene:
    """Describe a product.

    Args:
        path: Folder, tar, or a file of a folder.

    Returns:
        The scene of sensor ``landsat8``; ``metadata`` holds ``platform``, ``cloud_percent``, ``path_row``, and per band
        ``scale`` and ``offset`` in its asset.

    Raises:
        InputError: No product, another level, collection or sensor, or damaged metadata.
    """
    files = _open(path)
    facts = _facts(files)
    _check(facts, path)
    scene_id = facts["LANDSAT_PRODUCT_ID"]
    assets = dict(_assets(files, facts, path))
    if not assets:
        raise InputError(f"{path}: none of the product's rasters is there", remedy="download the product whole")
    when = f"{facts.get('DATE_ACQUIRED', '')}T{facts.get('SCENE_CENTER_TIME', '')[:15].rstrip('Z')}"
    try:
        moment = dt.datetime.fromisoformat(when).replace(tzinfo=dt.UTC)
    except ValueError:
        raise InputError(f"{path}: date and time are {when!r}", remedy="download the product again") from None
    metadata = {
        "platform": facts.get("SPACECRAFT_ID", ""),
        "cloud_percent": _number(facts, "CLOUD_COVER", path) if "CLOUD_COVER" in facts else None,
        "path_row": f"{int(facts.get('WRS_PATH', 0)):03d}{int(facts.get('WRS_ROW', 0)):03d}",
    }
    return Scene(scene_id, "landsat8", moment, _footprint(facts, path), assets, metadata)


def _open(path: Path) -> _Files:
    if path.is_file() and not tarfile.is_tarfile(path):
        path = path.parent
    if path.is_dir():
        return _Files(path, tuple(sorted(p.name for p in path.iterdir() if p.is_file())), tar=False)
    try:
        with tarfile.open(path) as archive:
            # Only names at the top are read, in place; nothing is unpacked.
            names = sorted(m.name for m in archive.getmembers() if m.isfile() and "/" not in m.name.removeprefix("./"))
    except (OSError, tarfile.TarError, EOFError) as error:
        raise InputError(f"{path} is no folder and no readable tar ({error})", remedy="check the path") from None
    return _Files(path, tuple(names), tar=True)


def _facts(files: _Files) -> dict[str, str]:
    found = {match[1].lower(): name for name in files.names if (match := _MTL.search(name))}
    kind = next((kind for kind in _ORDER if kind in found), None)
    if kind is None:
        raise InputError(
            f"{files.path}: no *_MTL.xml, .json or .txt, so it is no Landsat product", remedy="check the path"
        )
    name = found[kind]
    data = files.read(name)
    pairs: Iterator[tuple[str, str]]
    try:
        if kind == "xml":
            pairs = _xml(parse_xml(data, name))
        elif kind == "json":
            pairs = _json(json.loads(data))
        else:
            lines = (line.partition("=") for line in data.decode("utf-8").splitlines())
            pairs = ((key.strip(), value.strip().strip('"')) for key, sign, value in lines if sign)
        facts: dict[str, str] = {}
        for key, value in pairs:
            # Groups of Level 1 follow and repeat names; those of Level 2 come first.
            facts.setdefault(key, value)
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{files.path}: {name} is damaged ({error})", remedy="download the product again") from None
    return facts


def _xml(root: ET.Element) -> Iterator[tuple[str, str]]:
    for element in root.iter():
        if element.text and element.text.strip() and not len(element):
            yield element.tag, element.text.strip()


def _json(value: Any) -> Iterator[tuple[str, str]]:
    for key, part in value.items() if isinstance(value, dict) else ():
        if isinstance(part, dict):
            yield from _json(part)
        else:
            yield key, str(part)


def _check(facts: dict[str, str], path: Path) -> None:
    level, collection = facts.get("PROCESSING_LEVEL", ""), facts.get("COLLECTION_NUMBER", "")
    if not level.startswith("L2") or collection.lstrip("0") != "2":
        raise InputError(
            f"{path}: level {level or 'not stated'!r} of collection {collection or 'not stated'!r}, not Level 2 of 2",
            remedy="order the Collection 2 Level 2 product of the same scene",
        )
    craft = facts.get("SPACECRAFT_ID", "")
    if craft not in {"LANDSAT_8", "LANDSAT_9"}:
        raise InputError(
            f"{path}: {craft or 'a spacecraft that is not stated'!r}, not Landsat 8 or 9",
            remedy="describe its bands in a YAML file and use lc preprocess raster --sensor",
        )
    if not re.fullmatch(r"[A-Za-z0-9_]+", facts.get("LANDSAT_PRODUCT_ID", "")):
        raise InputError(f"{path}: the metadata names no product", remedy="download the product again")


def _assets(files: _Files, facts: dict[str, str], path: Path) -> Iterator[tuple[str, Asset]]:
    there = {name.removeprefix("./"): name for name in files.names}
    for number in range(1, 8):
        name = facts.get(f"FILE_NAME_BAND_{number}", "")
        if name in there:
            scale = _number(facts, f"REFLECTANCE_MULT_BAND_{number}", path)
            offset = _number(facts, f"REFLECTANCE_ADD_BAND_{number}", path)
            yield f"B{number}", Asset(files.gdal_path(there[name]), metadata={"scale": scale, "offset": offset})
    for key, layer in _LAYERS.items():
        name = facts.get(f"FILE_NAME_{key}", "")
        if name in there:
            yield layer, Asset(files.gdal_path(there[name]))


def _footprint(facts: dict[str, str], path: Path) -> dict[str, Any]:
    ring = [[_number(facts, f"CORNER_{c}_{axis}_PRODUCT", path) for axis in ("LON", "LAT")] for c in _CORNERS]
    return {"type": "Polygon", "coordinates": [ring]}


def _number(facts: dict[str, str], key: str, path: Path) -> float:
    try:
        return float(facts[key])
    except (KeyError, ValueError):
        raise InputError(f"{path}: {key} is {facts.get(key)!r}", remedy="download the product again") from None
