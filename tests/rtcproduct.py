"""Items and rasters as Planetary Computer (sentinel-1-rtc) and OPERA (RTC-S1) lay them out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from pyproj import Transformer
from rasterio.transform import from_origin

PC_NODATA = -32768.0


def write_raster(path: Path, values: np.ndarray, corner: tuple[float, float], gsd_m: float, **profile: Any) -> Path:
    """A GeoTIFF with its upper left corner (x, y) there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tags = profile.pop("tags", {})
    options = {"driver": "GTiff", "count": 1, "dtype": values.dtype.name, "crs": "EPSG:32633", **profile}
    height, width = values.shape
    transform = from_origin(*corner, gsd_m, gsd_m)
    with rasterio.open(path, "w", height=height, width=width, transform=transform, **options) as target:
        target.write(values, 1)
        target.update_tags(**tags)
    return path


def footprint(corner: tuple[float, float], shape: tuple[int, int], gsd_m: float, epsg: int) -> dict[str, Any]:
    x0, y1 = corner
    x1, y0 = x0 + shape[1] * gsd_m, y1 - shape[0] * gsd_m
    to_degrees = Transformer.from_crs(epsg, 4326, always_xy=True)
    ring = [list(to_degrees.transform(x, y)) for x, y in ((x0, y1), (x0, y0), (x1, y0), (x1, y1), (x0, y1))]
    return {"type": "Polygon", "coordinates": [ring]}


def item(name: str, geometry: Mapping[str, Any], properties: dict[str, Any], assets: dict[str, Any]) -> dict[str, Any]:
    ring = np.array(geometry["coordinates"][0])
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": geometry,
        "bbox": [*ring.min(axis=0).tolist(), *ring.max(axis=0).tolist()],
        "properties": properties,
        "links": [],
        "assets": assets,
    }


def pc_item(
    folder: Path,
    when: str,
    values: Mapping[str, np.ndarray],
    corner: tuple[float, float],
    *,
    gsd_m: float = 10.0,
    epsg: int = 32633,
    orbit: int = 44001,
    direction: str = "ascending",
    **changes: Any,
) -> dict[str, Any]:
    """Write the rasters of one sentinel-1-rtc item below `folder`; NaN becomes −32768. Hrefs are relative to it."""
    start = datetime.fromisoformat(when)
    stop = start + timedelta(seconds=25)
    name = f"S1A_IW_GRDH_1SDV_{start:%Y%m%dT%H%M%S}_{stop:%Y%m%dT%H%M%S}_{orbit:06d}_0540AF_rtc"
    assets: dict[str, Any] = {"tilejson": {"href": "https://example.org/tilejson.json", "roles": ["tiles"]}}
    shape = next(iter(values.values())).shape
    for band, power in values.items():
        stored = np.where(np.isnan(power), PC_NODATA, power).astype(np.float32)
        path = folder / name / "measurement" / f"iw-{band.lower()}.rtc.tiff"
        write_raster(path, stored, corner, gsd_m, crs=f"EPSG:{epsg}", nodata=changes.get("tag_nodata", PC_NODATA))
        assets[band.lower()] = {
            "href": str(path.relative_to(folder)),
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data"],
            "raster:bands": [{"nodata": PC_NODATA, "data_type": "float32", "spatial_resolution": gsd_m}],
        }
    properties = {
        "datetime": f"{start + timedelta(seconds=12):%Y-%m-%dT%H:%M:%S}Z",
        "start_datetime": f"{start:%Y-%m-%dT%H:%M:%S}Z",
        "end_datetime": f"{stop:%Y-%m-%dT%H:%M:%S}Z",
        "platform": "SENTINEL-1A",
        "sar:polarizations": sorted(values),
        "sat:orbit_state": direction,
        "sat:absolute_orbit": orbit,
        "sat:relative_orbit": 154,
    }
    return item(name, footprint(corner, shape, gsd_m, epsg), properties, assets)


def opera_item(
    folder: Path,
    when: str,
    burst: str,
    values: Mapping[str, np.ndarray],
    corner: tuple[float, float],
    *,
    mask: np.ndarray | None = None,
    processed: str = "20231004T024411",
    direction: str = "Descending",
    epsg: int = 32633,
) -> dict[str, Any]:
    """Write one burst of RTC-S1; orbit facts stand in the rasters' tags alone, and every file is offered twice."""
    start = datetime.fromisoformat(when)
    name = f"OPERA_L2_RTC-S1_{burst}_{start:%Y%m%dT%H%M%S}Z_{processed}Z_S1A_30_v1.0"
    tags = {"ORBIT_PASS_DIRECTION": direction, "BURST_ID": burst} if direction else {}
    layers: dict[str, np.ndarray] = {band: power.astype(np.float32) for band, power in values.items()}
    if mask is not None:
        layers["mask"] = mask.astype(np.uint8)
    assets: dict[str, Any] = {"browse": {"href": f"{name}_BROWSE.png", "roles": ["thumbnail"]}}
    for layer, pixels in layers.items():
        nodata = 255 if layer == "mask" else float("nan")
        path = folder / f"{name}_{layer}.tif"
        write_raster(path, pixels, corner, 30.0, crs=f"EPSG:{epsg}", nodata=nodata, tags=tags)
        assets[f"0_{layer}"] = {"href": f"./{path.name}", "roles": ["data"]}
        assets[f"s3_{layer}"] = {"href": f"s3://bucket/{path.name}", "roles": ["data"]}
    shape = next(iter(values.values())).shape
    stamp = f"{start:%Y-%m-%dT%H:%M:%S}Z"
    properties = {"datetime": stamp, "start_datetime": stamp, "end_datetime": stamp}
    return item(name, footprint(corner, shape, 30.0, epsg), properties, assets)


def write_collection(path: Path, items: Sequence[dict[str, Any]]) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(items)}))
    return path
