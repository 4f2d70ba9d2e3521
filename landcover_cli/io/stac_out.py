"""The STAC item beside a map: STAC 1.1 with the projection, raster, classification, processing and file extensions.

Nothing of time, host or run: the dates are those of the observations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landcover_cli.core.windows import PixelBox
from landcover_cli.io.digests import sha256_file
from landcover_cli.io.maplayers import MapFacts
from landcover_cli.io.tilewriter import Layer

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

# raster 1.1 rather than 2.0: what pystac and QGIS read today.
EXTENSIONS = tuple(
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("projection/v2.0.0", "raster/v1.1.0", "classification/v2.0.0", "processing/v1.2.0", "file/v2.1.0")
)
COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
_TITLES = {
    "class": "Class map",
    "confidence": "Probability of the mapped class",
    "validity": "Clear observations",
    "probabilities": "Probability of every class",
}


def map_item(
    facts: MapFacts,
    box: PixelBox,
    geometry_4326: BaseGeometry,
    layers: Mapping[str, tuple[Path, Layer]],
    extras: Mapping[str, Path],
    run_digest: str,
) -> dict[str, Any]:
    """The item of a map.

    Args:
        facts: Where the map comes from.
        box: Extent of its rasters on the grid.
        geometry_4326: The area, in longitude and latitude.
        layers: Layer name → delivered COG (it is read for its size and digest) and what it says.
        extras: Further files by asset name: legend, styles.
        run_digest: Digest of what the map was made from and of its pixels.
    """
    from shapely.geometry import mapping

    outline = mapping(geometry_4326)
    left, bottom, right, top = box.bounds_m(facts.gsd_m)
    assets: dict[str, Any] = {}
    for name, (path, layer) in layers.items():
        assets[name] = {
            **_file(path, _TITLES[name], COG_TYPE, ["data"] if name == "class" else ["data", "quality"]),
            "raster:bands": [_band(layer, facts.gsd_m) for _ in layer.bands],
            "bands": [{"name": text} for text in layer.bands],
        }
        if name == "class":
            assets[name]["classification:classes"] = classes(facts)
    for name, path in extras.items():
        assets[name] = _file(path, path.name, _media_type(path), ["metadata"])
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(EXTENSIONS),
        "id": re.sub(r"[^A-Za-z0-9_.-]+", "_", "_".join(part for part in (facts.name, _dates(facts)) if part)),
        "geometry": {"type": outline["type"], "coordinates": _rounded(outline["coordinates"])},
        "bbox": [round(float(value), 7) for value in geometry_4326.bounds],
        "properties": {
            "title": f"Land cover of {facts.name}",
            **_times(facts),
            "gsd": facts.gsd_m,
            **_projection(facts.crs),
            "proj:shape": [box.height, box.width],
            "proj:transform": [facts.gsd_m, 0.0, left, 0.0, -facts.gsd_m, top],
            "proj:bbox": [left, bottom, right, top],
            "processing:level": "L4",
            "processing:lineage": f"{facts.model} on " + ", ".join(f"{k} ({v})" for k, v in facts.inputs.items()),
            "processing:software": {"lc": facts.version},
            "lc:run_digest": run_digest,
            "lc:model_digest": facts.model_digest,
            "lc:legend": {"id": facts.legend.id, "version": facts.legend.version},
            "lc:settings": dict(facts.settings),
        },
        "links": [],
        "assets": assets,
    }


def classes(facts: MapFacts) -> list[dict[str, Any]]:
    """Classes of the classification extension; the legend's own code stands in the title and in `lc:code`."""
    found, used = [], set()
    for index, item in enumerate(facts.legend.classes):
        # The extension allows letters, digits, - and _ in names; two classes may not become one.
        name = re.sub(r"[^0-9A-Za-z_-]+", "_", item.name).strip("_") or f"class_{index}"
        name = name if name not in used else f"{name}_{item.code}"
        used.add(name)
        found.append(
            {
                "value": index,
                "name": name,
                "title": item.name,
                "description": item.description or item.name,
                "color_hint": item.color[1:].upper(),
                "lc:code": item.code,
            }
        )
    no_class = {"value": facts.legend.nodata, "name": "nodata", "description": "not observed, or outside the area"}
    if "nodata" in used:
        no_class["name"] = "lc_nodata"
    return [*found, {**no_class, "nodata": True}]


def _band(layer: Layer, gsd_m: float) -> dict[str, Any]:
    band: dict[str, Any] = {
        "data_type": layer.dtype,
        "nodata": layer.nodata,
        "sampling": "area",
        "spatial_resolution": gsd_m,
    }
    if layer.scale != 1.0:
        band |= {"scale": layer.scale, "offset": 0.0}
    return band


def _file(path: Path, title: str, media_type: str, roles: list[str]) -> dict[str, Any]:
    return {
        "href": f"./{path.name}",
        "title": title,
        "type": media_type,
        "roles": roles,
        "file:size": path.stat().st_size,
        # Multihash: 0x12 sha2-256, 0x20 bytes long.
        "file:checksum": "1220" + sha256_file(path),
    }


def _media_type(path: Path) -> str:
    return {".json": "application/json", ".xml": "application/xml", ".qml": "application/xml"}.get(
        path.suffix, "application/octet-stream"
    )


def _projection(crs: str) -> dict[str, Any]:
    return {"proj:code": crs} if re.fullmatch(r"[A-Z]+:\d+", crs) else {"proj:code": None, "proj:wkt2": crs}


def _dates(facts: MapFacts) -> str:
    return facts.period.replace("/", "_")


def _times(facts: MapFacts) -> dict[str, Any]:
    """Item times; STAC wants one even where there is none: the epoch stands for a map without dates."""
    if not facts.periods:
        return {"datetime": "1970-01-01T00:00:00Z"}
    first, last = min(p.start for p in facts.periods), max(p.end for p in facts.periods) - timedelta(days=1)
    return {
        "datetime": None,
        "start_datetime": f"{first.isoformat()}T00:00:00Z",
        "end_datetime": f"{last.isoformat()}T23:59:59Z",
    }


def _rounded(value: Any) -> Any:
    """Coordinates to 1e-7 degrees, about a centimetre."""
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else round(float(value), 7)
