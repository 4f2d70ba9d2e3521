"""The STAC item of `lc preprocess s1`: the core schema that pystac ships, and each extension's rules by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pystac
import pytest
from s1product import ASCENDING, write_aoi, write_dem, write_product
from slcproduct import EPSG, MOROCCO, write_slc, write_slc_aoi
from typer.testing import CliRunner

from landcover_cli.cli.app import app

LINKS = "https://stac-extensions.github.io/{}/schema.json"
VERSIONS = {
    "sar": "v1.0.0", "sat": "v1.0.0", "proj": "v2.0.0", "raster": "v1.1.0", "processing": "v1.2.0", "file": "v2.1.0"
}  # fmt: skip
NAMES = {"proj": "projection"}
NUMBER = (int, float)


def one_of(*allowed: Any) -> Callable[[Any], bool]:
    return lambda value: value in allowed


def is_a(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds) and not isinstance(value, bool)


def at_least(low: float, *kinds: type) -> Callable[[Any], bool]:
    return lambda value: is_a(*kinds)(value) and value >= low


def numbers(*lengths: int, kinds: tuple[type, ...] = NUMBER) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) in lengths and all(is_a(*kinds)(v) for v in value)


def channels(value: Any) -> bool:
    return 1 <= len(value) <= 4 and len(set(value)) == len(value) and set(value) <= {"HH", "VV", "HV", "VH"}


# Every field that an extension knows and this program writes; an unknown one with the prefix is an error.
FIELDS: dict[str, Callable[[Any], bool]] = {
    "sar:instrument_mode": one_of("IW", "EW"),
    "sar:frequency_band": one_of("C"),
    "sar:center_frequency": at_least(5.4, *NUMBER),
    "sar:polarizations": channels,
    "sar:product_type": one_of("RTC", "GTC"),
    "sar:observation_direction": one_of("left", "right"),
    "sar:pixel_spacing_range": at_least(0, *NUMBER),
    "sar:pixel_spacing_azimuth": at_least(0, *NUMBER),
    "sar:resolution_range": at_least(0, *NUMBER),
    "sar:resolution_azimuth": at_least(0, *NUMBER),
    "sar:looks_range": at_least(0, int),
    "sar:looks_azimuth": at_least(0, int),
    "sar:looks_equivalent_number": at_least(0, *NUMBER),
    "sat:orbit_state": one_of("ascending", "descending"),
    "sat:absolute_orbit": at_least(1, int),
    "sat:relative_orbit": at_least(1, int),
    "proj:code": lambda value: re.fullmatch(r"EPSG:\d+", value) is not None,
    "proj:shape": numbers(2, kinds=(int,)),
    "proj:transform": numbers(6, 9),
    "proj:bbox": numbers(4, 6),
    "processing:level": lambda value: re.fullmatch(r"RAW|L[0-4][A-C]?", value) is not None,
    "processing:lineage": lambda value: isinstance(value, str) and len(value) > 40,
    "processing:software": lambda value: bool(value) and all(isinstance(v, str) for v in value.values()),
    "raster:bands": lambda value: len(value) >= 1 and all(map(raster_band, value)),
    "file:size": at_least(1, int),
    "file:checksum": lambda value: re.fullmatch(r"1220[0-9a-f]{64}", value) is not None,
}
REQUIRED = (
    "sar:instrument_mode", "sar:frequency_band", "sar:polarizations", "sar:product_type", "sat:orbit_state",
    "sat:relative_orbit", "sat:absolute_orbit", "proj:code", "proj:shape", "proj:transform", "proj:bbox",
    "processing:level", "processing:lineage", "processing:software",
)  # fmt: skip


def raster_band(value: dict[str, Any]) -> bool:
    return (
        set(value) <= {"data_type", "nodata", "sampling", "spatial_resolution", "unit"}
        and value["data_type"] in {"uint8", "float32"}
        and (value["nodata"] in {"nan", "inf", "-inf"} or is_a(*NUMBER)(value["nodata"]))
        and value["sampling"] in {"area", "point"}
        and is_a(*NUMBER)(value["spatial_resolution"])
        and isinstance(value.get("unit", ""), str)
    )


def check_fields(found: dict[str, Any], where: str) -> None:
    for name, value in found.items():
        if name.partition(":")[0] in VERSIONS:
            assert name in FIELDS, f"{where}: no such field {name}"
            assert FIELDS[name](value), f"{where}: {name} = {value!r}"


def item_of(args: list[object], out: Path) -> tuple[Path, dict[str, Any]]:
    result = CliRunner().invoke(app, ["preprocess", "s1", *map(str, args), "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    folder = next(out.iterdir())
    return folder, json.loads((folder / "item.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def grd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[object]]:
    folder = tmp_path_factory.mktemp("grd")
    product = write_product(folder, ASCENDING)
    dem, aoi = write_dem(folder / "dem.tif"), write_aoi(folder / "aoi.geojson")
    return folder, [product, "--dem", dem, "--dem-height", "ellipsoidal", "--aoi", aoi, "--crs", "EPSG:32633"]


def check(folder: Path, item: dict[str, Any]) -> None:
    """Everything that must hold for any item."""
    assert item["stac_extensions"] == [LINKS.format(f"{NAMES.get(k, k)}/{v}") for k, v in VERSIONS.items()]
    check_fields(item["properties"], "properties")
    assert set(REQUIRED) <= set(item["properties"])
    for name, asset in item["assets"].items():
        check_fields(asset, name)
        path = folder / asset["href"]
        assert path.is_file() and asset["file:size"] == path.stat().st_size
        assert asset["title"] and asset["type"] and asset["roles"]
        if asset["type"].endswith("profile=cloud-optimized"):
            assert len(asset["bands"]) == len(asset["raster:bands"]) == 1, name
    assert {p.name for p in folder.iterdir()} - {"item.json", "observation.json"} == {
        asset["href"][2:] for asset in item["assets"].values()
    }
    # The core schema, item and common metadata, is shipped by pystac; those of the extensions are not.
    core = {**item, "stac_extensions": []}
    pystac.Item.from_dict(core).validate()
    read = pystac.Item.from_file(str(folder / "item.json"))
    assert read.bbox is not None and read.geometry is not None
    shape, bbox = item["properties"]["proj:shape"], item["properties"]["proj:bbox"]
    step = item["properties"]["gsd"]
    assert [(bbox[3] - bbox[1]) / step, (bbox[2] - bbox[0]) / step] == shape


@pytest.mark.parametrize("scale", ["linear", "db", "stretch"])
def test_the_item_of_a_grd_keeps_the_rules(grd, tmp_path: Path, scale: str) -> None:
    _, args = grd
    layers = "incidence,layover_shadow,rvi,dprvic,theta_c,entropy_c"
    folder, item = item_of([*args, "--layers", layers, "--scale", scale], tmp_path)
    check(folder, item)
    assert item["properties"]["sar:looks_equivalent_number"] == 4.4
    assert item["assets"]["theta_c"]["raster:bands"][0]["unit"] == "degree"
    assert item["assets"]["layover_shadow"]["raster:bands"][0]["nodata"] == 255
    assert item["assets"]["vv"]["raster:bands"][0].get("unit") == ("dB" if scale == "db" else None)


def test_the_item_of_an_slc_keeps_the_rules(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    safe = write_slc(shared_data(MOROCCO), tmp_path)
    aoi = write_slc_aoi(safe, tmp_path / "aoi.geojson")
    args = [safe, "--dem", "flat:0", "--aoi", aoi, "--crs", f"EPSG:{EPSG}", "--speckle", "none"]
    folder, item = item_of([*args, "--layers", "c2,haalpha,dprvi,dop"], tmp_path / "out")
    check(folder, item)
    assert item["assets"]["c12_imag"]["sar:polarizations"] == ["VV", "VH"]


def test_a_rule_that_is_broken_shows(grd, tmp_path: Path) -> None:
    _, args = grd
    folder, item = item_of(args, tmp_path)
    for name, value in (
        ("sar:polarizations", []),
        ("sat:relative_orbit", 0),
        ("sar:looks", 3),
        ("proj:shape", [1.5, 2]),
    ):
        broken = {**item, "properties": {**item["properties"], name: value}}
        with pytest.raises(AssertionError, match=name):
            check(folder, broken)
    with pytest.raises(pystac.STACValidationError):
        pystac.Item.from_dict({**item, "stac_extensions": [], "bbox": [1.0]}).validate()
