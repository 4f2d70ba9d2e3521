"""GeoJSON (RFC 7946, and the `crs` member of the 2008 format), read with errors that name file and feature."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
import shapely.geometry
from shapely.geometry.base import BaseGeometry

from landcover_cli.errors import InputError

_MAX_BYTES = 256 * 1024**2


def load_geojson(path: Path, what: str) -> dict[str, Any]:
    """The document of a file.

    Raises:
        InputError: Unreadable, too large, or no GeoJSON object.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise InputError(
                f"{what} {path} has {size:,} bytes; GeoJSON is read up to {_MAX_BYTES:,}",
                remedy="save it as GeoPackage",
            )
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{what} {path}: {error.strerror or error}", remedy="check the path") from None
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InputError(f"{what} {path} is not valid GeoJSON: {error}", remedy="save it again as GeoJSON") from None
    if not isinstance(document, dict) or "type" not in document:
        raise InputError(f"{what} {path} is no GeoJSON object", remedy="save it again as GeoJSON")
    return document


def geojson_features(document: dict[str, Any], path: Path, what: str) -> list[tuple[Any, dict[str, Any]]]:
    """(geometry, properties) of every feature."""
    kind = document["type"]
    if kind == "FeatureCollection":
        members = document.get("features")
        if not isinstance(members, list):
            raise InputError(f"{what} {path}: its FeatureCollection has no `features`", remedy="save it again")
    elif kind == "Feature":
        members = [document]
    else:
        members = [{"geometry": document}]
    if not all(isinstance(member, dict) for member in members):
        raise InputError(f"{what} {path}: a feature is no object", remedy="save it again as GeoJSON")
    properties = [member.get("properties") for member in members]
    return [
        (member.get("geometry"), found if isinstance(found, dict) else {})
        for member, found in zip(members, properties, strict=True)
    ]


def geojson_shape(geometry: Any, position: int, path: Path, what: str) -> BaseGeometry | None:
    """A geometry without heights; None where the feature has none.

    Raises:
        InputError: It is no geometry.
    """
    if geometry is None:
        return None
    try:
        with np.errstate(invalid="ignore"):  # JSON readers let NaN through; it is refused below
            shape: BaseGeometry = shapely.geometry.shape(geometry)
        finite = bool(np.isfinite(shapely.get_coordinates(shape)).all())
    except Exception as error:  # noqa: BLE001  shapely raises nearly any class for a document that is no geometry
        kind = geometry.get("type") if isinstance(geometry, dict) else geometry
        raise InputError(
            f"{what} {path}: feature {position + 1} ({reprlib.repr(kind)}) is no geometry: {reprlib.repr(str(error))}",
            remedy="save it again as GeoJSON",
        ) from None
    if not finite:
        raise InputError(f"{what} {path}: feature {position + 1} has coordinates that are no numbers", remedy="mend it")
    return shapely.force_2d(shape)


def geojson_crs(document: dict[str, Any], path: Path, what: str) -> str:
    """CRS of a GeoJSON document: the `crs` member of the 2008 format, else longitude and latitude (RFC 7946)."""
    member = document.get("crs", ...)
    if member is ...:
        return "EPSG:4326"
    name = None
    if isinstance(member, dict) and isinstance(member.get("properties"), dict):
        name = member["properties"].get("name")
    if not isinstance(name, str):
        raise InputError(
            f"{what} {path}: its `crs` member {reprlib.repr(member)} names no CRS",
            remedy="name one such as EPSG:32631, or remove the member (longitude and latitude)",
        )
    return crs_text(name, path, what)


def check_range(geometries: Iterable[BaseGeometry | None], path: Path, what: str, says_crs: bool) -> None:
    """Refuse coordinates that cannot be degrees: projected coordinates in a file that does not say so."""
    for position, geometry in enumerate(geometries):
        if geometry is None or geometry.is_empty:
            continue
        left, bottom, right, top = geometry.bounds
        if left < -360 or right > 360 or bottom < -90 or top > 90:
            where = "" if says_crs else " and no CRS is named"
            raise InputError(
                f"{what} {path}: feature {position + 1} has coordinates that are no longitude and latitude "
                f"(x {left:g} … {right:g}, y {bottom:g} … {top:g}){where}",
                remedy="save it in EPSG:4326, or as GeoPackage with its CRS",
            )


def crs_text(value: Any, path: Path, what: str) -> str:
    """``EPSG:<code>`` or WKT of whatever names a CRS.

    Raises:
        InputError: It names none.
    """
    try:
        crs = pyproj.CRS.from_user_input(value)
    except pyproj.exceptions.CRSError:
        raise InputError(
            f"{what} {path}: CRS {reprlib.repr(str(value))} is not known", remedy="use an EPSG code"
        ) from None
    authority = crs.to_authority(min_confidence=100)
    if authority and authority == ("OGC", "CRS84"):
        return "EPSG:4326"
    return f"{authority[0]}:{authority[1]}" if authority else str(crs.to_wkt())
