"""The STAC item of a processed Sentinel-1 scene: the sar, sat, projection, raster, processing and file extensions.

Source: STAC 1.1 and its extensions sar 1.0, sat 1.0, projection 2.0, raster 1.1, processing 1.2, file 2.1; looks and
resolutions of the products: Sentinel-1 Product Definition S1-RS-MDA-52-7440, tables of GRD products.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyproj
from shapely.geometry.polygon import orient

import landcover_cli
from landcover_cli.io.digests import sha256_file
from landcover_cli.io.observation import Observation
from landcover_cli.sar.pollayers import LAYER_INFO

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from landcover_cli.sar.stretch import StretchLimits

EXTENSIONS = tuple(
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in (
        "sar/v1.0.0",
        "sat/v1.0.0",
        "projection/v2.0.0",
        "raster/v1.1.0",
        "processing/v1.2.0",
        "file/v2.1.0",
    )
)
COG_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"
# Looks in range and azimuth, equivalent looks, resolution in range and azimuth (m).
_PRODUCTS: dict[str, tuple[int, int, float, float, float]] = {
    "IW_GRDH": (5, 1, 4.4, 20.0, 22.0),
}
TITLES = {
    "incidence": "Local incidence angle, degrees",
    "layover_shadow": "0 neither, 1 layover, 2 shadow, 3 both, 255 not seen",
    "quicklook": "Quick-look",
    "data": "All polarisations, linear power",
    "mask": "0 not observed, 1 clear, 2 layover or shadow",
}


def s1_item(
    about: Observation,
    footprint: BaseGeometry,
    files: Mapping[str, Path],
    scale: str,
    limits: Mapping[str, StretchLimits | None],
) -> dict[str, Any]:
    """The item of one observation and its COGs.

    Args:
        about: The observation.
        footprint: Its ground, in its own CRS.
        files: Asset → delivered file (read for size and digest).
        scale: Of the COGs of the polarisations: "linear", "db" or "stretch".
        limits: Band → ends of the stretch.
    """
    facts = about.facts
    to_degrees = pyproj.Transformer.from_crs(about.crs, "EPSG:4326", always_xy=True)
    # RFC 7946, 3.1.6: outer rings run counter-clockwise.
    outer = orient(footprint).exterior
    ring = [to_degrees.transform(x, y) for x, y in outer.coords] if not footprint.is_empty else []
    left, bottom, right, top = about.bounds_m
    height, width = about.lattice.shape_yx
    lons, lats = [p[0] for p in ring], [p[1] for p in ring]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(EXTENSIONS),
        "id": f"{about.id}_{facts['backscatter']}",
        "geometry": {"type": "Polygon", "coordinates": [[[round(x, 7), round(y, 7)] for x, y in ring]]}
        if ring
        else None,
        **({"bbox": [round(v, 7) for v in (min(lons), min(lats), max(lons), max(lats))]} if ring else {}),
        "properties": {
            "datetime": about.datetime,
            "start_datetime": about.datetime,
            "end_datetime": facts["stop"],
            "platform": f"sentinel-{facts['mission'][1:].lower()}",
            "constellation": "sentinel-1",
            "instruments": ["c-sar"],
            "gsd": about.gsd_m,
            **_sar(about),
            "sat:orbit_state": facts["orbit_direction"],
            "sat:relative_orbit": facts["relative_orbit"],
            "sat:absolute_orbit": facts["absolute_orbit"],
            **({"proj:code": about.crs} if re.fullmatch(r"[A-Z]+:\d+", about.crs) else {"proj:wkt2": about.crs}),
            "proj:shape": [height, width],
            "proj:transform": [about.gsd_m, 0.0, left, 0.0, -about.gsd_m, top],
            "proj:bbox": [left, bottom, right, top],
            "processing:level": "L1" if facts["backscatter"] != "gamma0_rtc" else "L2",
            "processing:lineage": f"{', '.join(facts['products'])}: {_lineage(facts)}",
            "processing:software": {"Sentinel-1 IPF": facts["ipf"], "lc": landcover_cli.__version__},
            "lc:parameters": parameters(facts),
        },
        "links": [],
        "assets": {name: _asset(name, path, about, scale, limits) for name, path in sorted(files.items())},
    }


def parameters(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What decided the pixels of an observation, for tags and items."""
    keys = ("backscatter", "border_noise", "dem", "denoise", "orbit", "resampling", "speckle")
    optional = ("bistatic", "multilook", "polarimetry")
    return {key: facts[key] for key in keys} | {key: facts[key] for key in optional if key in facts}


def _sar(about: Observation) -> dict[str, Any]:
    facts = about.facts
    sar: dict[str, Any] = {
        "sar:instrument_mode": facts["mode"],
        "sar:frequency_band": "C",
        "sar:center_frequency": round(facts["radar_frequency_hz"] / 1e9, 6),
        "sar:polarizations": polarisations(about),
        "sar:product_type": "RTC" if facts["backscatter"] == "gamma0_rtc" else "GTC",
        "sar:observation_direction": "right",
        "sar:pixel_spacing_range": facts["range_spacing_m"],
        "sar:pixel_spacing_azimuth": facts["azimuth_spacing_m"],
    }
    known = _PRODUCTS.get(f"{facts['mode']}_{facts['product_type']}")
    if known:
        names = ("looks_range", "looks_azimuth", "looks_equivalent_number", "resolution_range", "resolution_azimuth")
        sar |= {f"sar:{name}": value for name, value in zip(names, known, strict=True)}
    return sar


def polarisations(about: Observation) -> list[str]:
    """The bands that are power of a polarisation."""
    return [band for band in about.bands if band not in LAYER_INFO]


def _lineage(facts: Mapping[str, Any]) -> str:
    noise = ", ".join(f"{band} {state}" for band, state in sorted(facts["denoise"].items()))
    return (
        f"orbit {facts['orbit']}; border noise {facts['border_noise']}; thermal noise {noise}; speckle filter "
        f"{facts['speckle']['name']}; {facts['backscatter']} on DEM {facts['dem']['name']} "
        f"({facts['dem']['heights']} heights), bilinear{_polarimetry(facts)}"
    )


def _polarimetry(facts: Mapping[str, Any]) -> str:
    made = facts.get("polarimetry")
    if made is None:
        return ""
    if "c2_window_px" not in made:
        return f"; polarimetric layers of {made['of']}, channels {', '.join(made['channel_order'])}"
    lines, samples = facts["multilook"]
    return (
        f"; polarimetric layers of {made['of']}, averaged over {lines} x {samples} looks and a window of "
        f"{made['c2_window_px']} pixels, channels {', '.join(made['channel_order'])}"
    )


def _asset(
    name: str, path: Path, about: Observation, scale: str, limits: Mapping[str, StretchLimits | None]
) -> dict[str, Any]:
    asset: dict[str, Any] = {
        "href": f"./{path.name}",
        "title": _title(name),
        "type": "image/png" if path.suffix == ".png" else COG_TYPE,
        "roles": {"quicklook": ["overview"], "mask": ["data-mask"], "incidence": ["metadata"]}.get(name, ["data"]),
        "file:size": path.stat().st_size,
        # Multihash: 0x12 sha2-256, 0x20 bytes long.
        "file:checksum": "1220" + sha256_file(path),
    }
    if name in {"data", "mask"}:
        asset["type"] = "image/tiff; application=geotiff"
    if name in LAYER_INFO or name in {"incidence", "layover_shadow"}:
        asset |= _layer(name, about)
    band = name.upper()
    if band in about.bands:
        eight = scale == "stretch"
        entry: dict[str, Any] = {
            "data_type": "uint8" if eight else "float32",
            "nodata": 0 if eight else "nan",
            "sampling": "area",
            "spatial_resolution": about.gsd_m,
        }
        if scale == "db":
            entry["unit"] = "dB"
        ends = limits.get(band)
        if ends is not None:
            asset["lc:stretch_db"] = [ends.low_db, ends.high_db]
        asset |= {"sar:polarizations": [band], "raster:bands": [entry], "bands": [{"name": band}]}
    return asset


def _layer(name: str, about: Observation) -> dict[str, Any]:
    """Bands of a layer's asset."""
    codes = name == "layover_shadow"
    entry: dict[str, Any] = {
        "data_type": "uint8" if codes else "float32",
        "nodata": 255 if codes else "nan",
        "sampling": "area",
        "spatial_resolution": about.gsd_m,
    }
    if name == "incidence" or (name in LAYER_INFO and LAYER_INFO[name].unit == "deg"):
        entry["unit"] = "degree"
    layer: dict[str, Any] = {"raster:bands": [entry], "bands": [{"name": name, "description": _title(name)}]}
    if name in LAYER_INFO:
        layer["sar:polarizations"] = list(about.facts["polarimetry"]["channel_order"])
    return layer


def _title(name: str) -> str:
    if name in LAYER_INFO:
        return LAYER_INFO[name].title
    return TITLES.get(name, f"{name.upper()} backscatter")
