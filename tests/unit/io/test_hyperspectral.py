"""Hyperspectral cubes as ENVI files of every interleave and as GeoTIFFs, whole and broken."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from typer.testing import CliRunner

from landcover_cli.cli.app import app
from landcover_cli.core.types import MASK_CLEAR, MASK_NODATA
from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.hyperspectral import read_cube

LEFT, TOP, GSD, SHAPE = 600_000, 5_100_000, 30, (12, 20)
WAVELENGTHS = (420.5, 550.0, 550.02, 940.0, 1380.0, 2200.4)
BBL = (1, 1, 1, 1, 0, 1)
NODATA = -9999


def values(seed: int = 0) -> np.ndarray:
    """[bands, y, x] of reflectance × 10000 with an empty corner."""
    cube = np.random.default_rng(seed).integers(100, 6000, (6, *SHAPE)).astype(np.int16)
    cube[:, :2, :3] = NODATA
    cube[2, 5, 5] = NODATA
    return cube


def write_envi(folder: Path, cube: np.ndarray, interleave: str = "bsq", **changes: str | None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "EnMAP_20230611T102030.dat"
    order = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}[interleave]
    path.write_bytes(np.ascontiguousarray(cube.transpose(order)).tobytes())
    facts: dict[str, str | None] = {
        "samples": str(SHAPE[1]),
        "lines": str(SHAPE[0]),
        "bands": str(len(cube)),
        "header offset": "0",
        "file type": "ENVI Standard",
        "data type": {"int16": "2", "float32": "4"}[cube.dtype.name],
        "interleave": interleave,
        "byte order": "0",
        "map info": f"{{UTM, 1, 1, {LEFT}, {TOP}, {GSD}, {GSD}, 33, North, WGS-84, units=Meters}}",
        "wavelength units": "Nanometers",
        "wavelength": "{" + ",\n ".join(str(w) for w in WAVELENGTHS) + "}",
        "fwhm": "{" + ", ".join(["7.5"] * 6) + "}",
        "bbl": "{" + ", ".join(str(b) for b in BBL) + "}",
        "reflectance scale factor": "10000",
        "data ignore value": str(NODATA),
        **{key.replace("_", " "): value for key, value in changes.items()},
    }
    lines = [f"{key} = {value}" for key, value in facts.items() if value is not None]
    path.with_suffix(".hdr").write_text("\n".join(["ENVI", "description = {made for a test}", *lines]))
    return path


def write_tiff(folder: Path, cube: np.ndarray, tags: dict[str, str] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "prisma_2021-07-08.tif"
    transform = Affine(GSD, 0, LEFT, 0, -GSD, TOP)
    profile = {"driver": "GTiff", "height": SHAPE[0], "width": SHAPE[1], "count": len(cube), "dtype": cube.dtype}
    with rasterio.open(path, "w", crs="EPSG:32633", transform=transform, nodata=NODATA, **profile) as dataset:
        dataset.write(cube)
        dataset.update_tags(**(tags or {}))
    return path


def lc(*args: object) -> list[dict[str, object]]:
    result = CliRunner().invoke(app, ["preprocess", "hyperspectral", *map(str, args), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found: list[dict[str, object]] = json.loads(result.stdout)
    return found


def result(folder: Path) -> tuple[dict, np.ndarray, np.ndarray]:
    with rasterio.open(folder / "data.tif") as data, rasterio.open(folder / "mask.tif") as mask:
        return json.loads((folder / "observation.json").read_text()), data.read(), mask.read(1)


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
def test_every_interleave_gives_the_same_reflectance(tmp_path, interleave) -> None:
    cube = values()
    path = write_envi(tmp_path, cube, interleave)
    lc(path.with_suffix(".hdr"), "--out", tmp_path / "o")
    about, data, mask = result(tmp_path / "o" / path.stem)
    kept = [k for k, good in enumerate(BBL) if good]
    # Two bands of nearly one wavelength are told apart.
    assert about["bands"] == ["420.5nm", "550.0nm", "550.0nm_b003", "940.0nm", "2200.4nm"]
    assert about["facts"]["wavelengths_nm"] == [WAVELENGTHS[k] for k in kept]
    assert about["facts"]["fwhm_nm"] == [7.5] * 5
    assert about["facts"]["bad_bands"] == [5]
    assert about["datetime"] == "2023-06-11T10:20:30Z"
    empty = cube[kept] == NODATA
    np.testing.assert_array_equal(data, np.where(empty, 0, cube[kept].astype(int) + 1000))
    np.testing.assert_array_equal(mask, np.where(empty.any(axis=0), MASK_NODATA, MASK_CLEAR))


def test_wavelengths_bad_bands_and_a_part(tmp_path) -> None:
    path = write_envi(tmp_path, values())
    shown = lc(path, "--out", tmp_path / "o", "--wavelengths", "500-600, 1300-1400", "--keep-bad-bands", "--dry-run")
    assert shown[0]["bands"] == ["550.0nm", "550.0nm_b003", "1380.0nm"]
    assert not (tmp_path / "o").exists()
    aoi = tmp_path / "aoi.geojson"
    import pyproj

    to = pyproj.Transformer.from_crs(32633, 4326, always_xy=True).transform
    corners = [(LEFT + 95, TOP - 65), (LEFT + 235, TOP - 65), (LEFT + 235, TOP - 185), (LEFT + 95, TOP - 185)]
    ring = [list(to(*c)) for c in (*corners, corners[0])]
    aoi.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    lc(path, "--out", tmp_path / "whole")
    lc(path, "--out", tmp_path / "part", "--aoi", aoi)
    _, whole, _ = result(tmp_path / "whole" / path.stem)
    about, part, _ = result(tmp_path / "part" / path.stem)
    assert about["bounds_m"] == [LEFT + 90, TOP - 210, LEFT + 240, TOP - 60]
    np.testing.assert_array_equal(part, whole[:, 2:7, 3:8])


def test_scale_by_gains_by_option_and_of_floats(tmp_path) -> None:
    cube = values()
    gains = ", ".join(str(1e-4 * (k + 1)) for k in range(6))
    offsets = ", ".join(["0.01"] * 6)
    path = write_envi(
        tmp_path / "a", cube, data_gain_values=f"{{{gains}}}", data_offset_values=f"{{{offsets}}}", bbl=None
    )
    lc(path, "--out", tmp_path / "oa")
    about, data, _ = result(tmp_path / "oa" / path.stem)
    seen = cube != NODATA
    rho = cube * (np.arange(1, 7)[:, None, None] * 1e-4) + 0.01
    np.testing.assert_allclose((data * 1e-4 - 0.1)[seen], rho[seen], atol=0.51e-4)
    path = write_envi(tmp_path / "b", cube, reflectance_scale_factor=None)
    with pytest.raises(InputError, match="does not say what they mean"):
        lc(path, "--out", tmp_path / "ob")
    lc(path, "--out", tmp_path / "ob", "--scale", "0.0001")
    path = write_envi(
        tmp_path / "c", np.where(seen, cube / 10000, NODATA).astype("float32"), reflectance_scale_factor=None
    )
    lc(path, "--out", tmp_path / "oc")
    for name in ("ob", "oc"):
        about, data, _ = result(tmp_path / name / path.stem)
        kept = [k for k, good in enumerate(BBL) if good]
        np.testing.assert_array_equal(data, np.where(seen, cube.astype(int) + 1000, 0)[kept])
    with pytest.raises(InputError, match="no reflectance"):
        lc(path, "--out", tmp_path / "od", "--scale", "100")
    assert not list((tmp_path / "od").glob("*"))
    assert about["facts"]["gain"] == 1.0


def test_micrometres_are_told_from_nanometres(tmp_path) -> None:
    micro = "{" + ", ".join(str(w / 1000) for w in WAVELENGTHS) + "}"
    for unit in ("Micrometers", None):
        path = write_envi(tmp_path / str(unit), values(), wavelength=micro, wavelength_units=unit, fwhm=None)
        found = [band.wavelength_nm for band in read_cube(path).bands]
        np.testing.assert_allclose(found, WAVELENGTHS)


def test_a_geotiff_says_it_by_tags(tmp_path) -> None:
    cube = values()
    tags = {
        "wavelength": "{" + ", ".join(str(w) for w in WAVELENGTHS) + "}",
        "wavelength_units": "nm",
        "bbl": "{" + ", ".join(str(b) for b in BBL) + "}",
        "reflectance_scale_factor": "10000",
    }
    path = write_tiff(tmp_path, cube, tags)
    lc(path, "--out", tmp_path / "o")
    about, data, mask = result(tmp_path / "o" / path.stem)
    assert about["bands"] == ["420.5nm", "550.0nm", "550.0nm_b003", "940.0nm", "2200.4nm"]
    assert about["datetime"] == "2021-07-08T00:00:00Z"
    assert data[0, 5, 6] == cube[0, 5, 6] + 1000
    assert (mask[:2, :3] == MASK_NODATA).all()


def test_a_geotiff_says_it_by_its_bands(tmp_path) -> None:
    path = write_tiff(tmp_path, values())
    with rasterio.open(path, "r+") as dataset:
        dataset.set_band_description(1, "Band 1 (420.5 Nanometers)")
        dataset.set_band_description(2, "green 0.55 um")
        dataset.update_tags(3, ns="IMAGERY", CENTRAL_WAVELENGTH_UM="0.6", FWHM_UM="0.01")
        dataset.scales = (1e-4,) * 6
    cube = read_cube(path)
    assert [band.wavelength_nm for band in cube.bands[:4]] == [420.5, 550.0, 600.0, None]
    assert cube.bands[2].fwhm_nm == 10.0
    assert cube.bands[3].name == "b004"
    assert cube.bands[5].gain == 1e-4


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"wavelength": "{400, 500}"}, "wavelength holds 2 values for 6 bands"),
        ({"bbl": "{yes, no}"}, "bbl holds 'yes, no'"),
        ({"bands": "600"}, r"its header says"),
        ({"data_type": None}, "lacks samples, lines, bands or data type"),
        ({"map_info": None}, "no georeference"),
        ({"data_ignore_value": "none"}, "'none' is no number"),
        ({"reflectance_scale_factor": "0"}, "scale factor is 0"),
        ({"map_info": "{UTM, 1, 1, 600000, 5100000, 30, 30, 33, North, WGS-84, rotation=20}"}, "not north-up"),
    ],
)
def test_broken_headers_are_named(tmp_path, changes, match) -> None:
    with pytest.raises(InputError, match=match):
        read_cube(write_envi(tmp_path, values(), **changes))


def test_what_cannot_be_read_is_refused_and_leaves_nothing(tmp_path) -> None:
    path = write_envi(tmp_path, values())
    for args, error, match in (
        (["--wavelengths", "900-400"], UsageError, "is no range"),
        (["--date", "june"], UsageError, "is no day"),
        (["--resampling", "cubic"], UsageError, "'cubic' is unknown"),
        (["--crs", "EPSG:32632"], UsageError, "--crs without --aoi"),
        (["--wavelengths", "3000-4000"], InputError, "none of its 6 bands is left"),
    ):
        with pytest.raises(error, match=match):
            lc(path, "--out", tmp_path / "o", *args)
    nameless = path.rename(path.with_name("cube.dat"))
    path.with_suffix(".hdr").rename(nameless.with_suffix(".hdr"))
    with pytest.raises(InputError, match="states no date"):
        lc(nameless, "--out", tmp_path / "o")
    assert lc(nameless, "--out", tmp_path / "p", "--date", "2023-06-11")
    nameless.unlink()
    with pytest.raises(InputError, match=r"the data file cube is missing"):
        lc(nameless.with_suffix(".hdr"), "--out", tmp_path / "o")
    assert not (tmp_path / "o").exists()
