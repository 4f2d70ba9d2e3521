"""`lc preprocess s1` on products and orbit files that are nearly right: refused or warned of."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from s1product import ASCENDING, write_aoi, write_dem, write_product
from typer.testing import CliRunner

from landcover_cli.cli.app import app
from landcover_cli.errors import InputError
from landcover_cli.io.safe_s1 import open_s1_product


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("s1")
    write_product(folder, ASCENDING)
    write_dem(folder / "dem.tif")
    write_aoi(folder / "aoi.geojson")
    return folder


@pytest.fixture
def product(place: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    safe = next(place.glob("*.SAFE"))
    shutil.copytree(safe, tmp_path / safe.name)
    return tmp_path / safe.name


def said(place: Path, product: Path, out: Path, *more: object) -> str:
    """What the command prints, its warnings included."""
    aoi = [] if "--aoi" in more else ["--aoi", place / "aoi.geojson"]
    args = [
        "preprocess", "s1", product, "--out", out, "--dem", place / "dem.tif", "--dem-height", "ellipsoidal",
        "--crs", "EPSG:32633", "--workers", 1, *aoi, *more,
    ]  # fmt: skip
    result = CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def lc(place: Path, product: Path, out: Path, *more: object) -> Path:
    said(place, product, out, *more)
    return out / product.stem


def test_a_polarisation_without_annotation_is_never_dropped_in_silence(place, product, tmp_path):
    lost = next(product.glob("annotation/*-vh-*.xml"))
    lost.unlink()
    with pytest.raises(InputError, match=rf"annotation/{re.escape(lost.name)} is missing") as caught:
        lc(place, product, tmp_path / "out")
    assert "VV alone" in caught.value.remedy and not (tmp_path / "out").exists()
    folder = lc(place, product, tmp_path / "out", "--polarisation", "VV", "--no-cog")
    assert json.loads((folder / "observation.json").read_text())["bands"] == ["VV"]


def test_a_scene_without_a_valid_pixel_is_said(place, product, tmp_path):
    path = next(product.glob("measurement/*-vh-*"))
    with rasterio.open(path, "r+") as dataset:
        dataset.write(np.zeros(dataset.shape, dtype=dataset.dtypes[0]), 1)
    text = said(place, product, tmp_path / "out", "--no-cog", "--speckle", "none")
    assert "no pixel of VH has a value" in text
    assert "no pixel" not in said(place, product, tmp_path / "vv", "--no-cog", "--polarisation", "VV")


def test_an_area_partly_off_the_scene_is_said(place, product, tmp_path):
    assert "off the scene" not in said(place, product, tmp_path / "whole", "--dry-run")
    aoi = write_aoi(tmp_path / "wide.geojson", inset_m=-3000.0)
    text = said(place, product, tmp_path / "o", "--dry-run", "--aoi", aoi, "--dem", "flat:500", "--dem-height", "auto")
    assert re.search(r"\d+ % of the area asked for lie off the scene", text)


def write_eof(path: Path, product: Path, turn_deg: float) -> Path:
    """The annotation's orbit, turned about the axis of the Earth."""
    orbit = open_s1_product(product).annotation("VV").orbit
    c, s = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    vectors = "".join(
        f"<OSV><UTC>UTC={orbit.epoch + np.timedelta64(round(t * 1e6), 'us')!s}</UTC>"
        + "".join(f"<{a}>{float(v)!r}</{a}>" for a, v in zip(("X", "Y", "Z", "VX", "VY", "VZ"), state, strict=True))
        + "</OSV>"
        for t, state in zip(
            orbit.time_s, np.hstack([orbit.position_m @ turn.T, orbit.velocity_ms @ turn.T]), strict=True
        )
    )
    path.write_text(
        "<F><Fixed_Header><Mission>Sentinel-1A</Mission></Fixed_Header><List_of_OSVs>" + vectors + "</List_of_OSVs></F>"
    )
    return path


def test_the_orbit_of_another_pass_is_refused_by_its_name(place, product, tmp_path):
    eof = write_eof(tmp_path / "same.EOF", product, 0.0)
    lc(place, product, tmp_path / "out", "--dry-run", "--orbits", eof)
    eof = write_eof(tmp_path / "other.EOF", product, 25.0)
    with pytest.raises(InputError, match=r"orbit file other\.EOF: up to \d{4}\.\d km from the orbit in the product's"):
        lc(place, product, tmp_path / "out", "--orbits", eof)
    # One day's precession of a tenth of a degree is enough: 7 km.
    eof = write_eof(tmp_path / "near.EOF", product, 0.1)
    with pytest.raises(InputError, match=r"orbit file near\.EOF: up to \d\.\d km"):
        lc(place, product, tmp_path / "out", "--orbits", eof)
    assert not (tmp_path / "out").exists()


def test_a_junk_orbit_file_is_what_the_remedy_speaks_of(place, product, tmp_path):
    (tmp_path / "junk.EOF").write_text("this is no orbit")
    with pytest.raises(InputError, match=r"orbit file junk\.EOF") as caught:
        lc(place, product, tmp_path / "out", "--orbits", tmp_path / "junk.EOF")
    assert "orbit file" in caught.value.remedy and "product" not in caught.value.remedy


def test_all_rasters_say_what_they_are_and_the_footprint_runs_counter_clockwise(place, product, tmp_path):
    folder = lc(place, product, tmp_path / "out", "--layers", "incidence,layover_shadow")
    for name, unit in (("incidence", "degrees"), ("layover_shadow", "code")):
        with rasterio.open(folder / f"{name}.tif") as dataset:
            tags = dataset.tags()
        assert (tags["PRODUCT"], tags["UNITS"]) == (product.stem, unit)
        assert json.loads(tags["PARAMETERS"])["backscatter"] == "gamma0_rtc"
    item = json.loads((folder / "item.json").read_text())
    assert shapely.geometry.shape(item["geometry"]).exterior.is_ccw
