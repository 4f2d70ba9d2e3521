"""Images of a sensor described in YAML: reflectance, mask rules, composites, and descriptions that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
import yaml
from affine import Affine
from typer.testing import CliRunner

from landcover_cli.cli.app import app
from landcover_cli.config.sensorfile import MaskRule, read_sensor_file
from landcover_cli.core.types import MASK_BAD, MASK_CLEAR, MASK_NODATA
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.io.preprocess_raster import apply_rule

LEFT, TOP, GSD, SHAPE = 600_000, 5_100_000, 3, (14, 18)
SENSOR = {
    "name": "planetscope",
    "title": "PlanetScope, four bands",
    "gsd_m": 3,
    "scale": 0.0001,
    "bands": [
        {"name": "blue", "wavelength_nm": 490, "width_nm": 50},
        {"name": "red", "file_band": 3, "wavelength_nm": 665, "width_nm": 31},
        {"name": "nir", "file_band": 4, "wavelength_nm": 865, "width_nm": 40, "scale": 0.0002, "offset": 0.01},
    ],
    "mask": {"replace": ["_SR", "_udm2"], "band": 1, "clear": [1]},
}


def write_sensor(folder: Path, **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "planet.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in {**SENSOR, **changes}.items() if v is not None}))
    return path


def write(path: Path, values: np.ndarray, nodata: float | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = Affine(GSD, 0, LEFT, 0, -GSD, TOP)
    shape = {"height": values.shape[1], "width": values.shape[2], "count": len(values), "dtype": values.dtype}
    with rasterio.open(
        path, "w", driver="GTiff", crs="EPSG:32633", transform=transform, nodata=nodata, **shape
    ) as dataset:
        dataset.write(values)
    return path


def image(folder: Path, day: str = "20230611", seed: int = 0) -> tuple[Path, np.ndarray, np.ndarray]:
    values = np.random.default_rng(seed).integers(200, 4000, (4, *SHAPE)).astype("uint16")
    values[:, 0, :4] = 0
    usable = np.ones((1, *SHAPE), "uint8")
    usable[0, 5:9, 6:9] = 0
    usable[0, 10, 10] = 7
    write(folder / f"{day}_SR.tif", values, nodata=0)
    write(folder / f"{day}_udm2.tif", usable)
    return folder / f"{day}_SR.tif", values, usable[0]


def lc(*args: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_reflectance_and_mask_by_the_description(tmp_path) -> None:
    path, values, usable = image(tmp_path)
    sensor = write_sensor(tmp_path)
    shown = json.loads(
        lc("preprocess", "raster", path, "--sensor", sensor, "--out", tmp_path / "o", "--dry-run", "--json")
    )
    assert shown[0]["sensor"] == "planetscope" and not (tmp_path / "o").exists()
    lc("preprocess", "raster", path, "--sensor", sensor, "--out", tmp_path / "o")
    folder = tmp_path / "o" / path.stem
    about = json.loads((folder / "observation.json").read_text())
    assert (about["sensor"], about["bands"], about["gsd_m"]) == ("planetscope", ["blue", "red", "nir"], 3.0)
    assert about["facts"]["wavelengths_nm"] == [490.0, 665.0, 865.0]
    with rasterio.open(folder / "data.tif") as data, rasterio.open(folder / "mask.tif") as mask:
        stored, codes = data.read(), mask.read(1)
    seen = values[0] > 0
    gain, offset = np.array([1, 1, 2])[:, None, None] * 1e-4, np.array([0, 0, 0.01])[:, None, None]
    np.testing.assert_allclose(
        (stored * 1e-4 - 0.1)[:, seen], (values[[0, 2, 3]] * gain + offset)[:, seen], atol=0.51e-4
    )
    expected = np.where(usable == 1, MASK_CLEAR, MASK_BAD)
    np.testing.assert_array_equal(codes, np.where(seen, expected, MASK_NODATA))


def test_images_of_a_month_become_a_cube(tmp_path) -> None:
    sensor, out = write_sensor(tmp_path), tmp_path / "o"
    days = [image(tmp_path, day, seed) for seed, day in enumerate(("20230611", "20230615"))]
    lc("preprocess", "raster", *(day[0] for day in days), "--sensor", sensor, "--out", out)
    folders = [out / day[0].stem for day in days]
    for method in ("mean", "max_ndvi"):
        cube = tmp_path / f"{method}.zarr"
        lc("composite", *folders, "--out", cube, "--start", "2023-06", "--end", "2023-06", "--method", method)
        ds = xr.open_zarr(cube, chunks=None, mask_and_scale=False)
        assert ds.attrs["sensor"] == "planetscope"
        first, second = (day[1][2, 12, 12] + 1000 for day in days)
        value = int(ds["data"].sel(band="red").values[0, 12, 12])
        assert value in ({(int(first) + int(second) + 1) // 2} if method == "mean" else {first, second})


@pytest.mark.parametrize(
    ("rule", "codes"),
    [
        ({"clear": (1, 4)}, [MASK_BAD, MASK_CLEAR, MASK_BAD, MASK_BAD, MASK_CLEAR, MASK_NODATA]),
        ({"bad": (2, 3)}, [MASK_CLEAR, MASK_CLEAR, MASK_BAD, MASK_BAD, MASK_CLEAR, MASK_NODATA]),
        ({"bad_bits": (1,)}, [MASK_CLEAR, MASK_CLEAR, MASK_BAD, MASK_BAD, MASK_CLEAR, MASK_NODATA]),
        ({"bad": (2,), "nodata": (0,)}, [MASK_NODATA, MASK_CLEAR, MASK_BAD, MASK_CLEAR, MASK_CLEAR, MASK_NODATA]),
    ],
)
def test_mask_rules(rule, codes) -> None:
    values = np.array([0, 1, 2, 3, 4, np.nan], "float32")
    assert apply_rule(values, MaskRule(**rule)).tolist() == codes


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"name": "sentinel2"}, "a sensor that lc knows already"),
        ({"bands": []}, "bands: "),
        ({"bands": [{"name": "red"}, {"name": "red"}]}, "band 'red' is given twice"),
        ({"scale": 0}, "scale: "),
        ({"scales": 1}, "scales: "),
        ({"mask": {"clear": [1], "bad": [2]}}, "give one of `clear`, `bad`, `bad_bits`"),
        ({"mask": {"bad_bits": [40]}}, "bits are 0 to 31"),
    ],
)
def test_wrong_descriptions_are_refused(tmp_path, changes, match) -> None:
    with pytest.raises(ConfigError, match=match):
        read_sensor_file(write_sensor(tmp_path, **changes), ("sentinel2",))


def test_files_that_do_not_fit_are_named_and_leave_nothing(tmp_path) -> None:
    path, values, _ = image(tmp_path)
    out = tmp_path / "o"

    def refused(match: str, file: Path = path, **changes: object) -> None:
        with pytest.raises(InputError, match=match):
            lc("preprocess", "raster", file, "--sensor", write_sensor(tmp_path, **changes), "--out", out)

    refused("has 4 bands, swir is described as its band 9", bands=[{"name": "swir", "file_band": 9}])
    refused("does not hold '_MS'", mask={"replace": ["_MS", "_udm"], "clear": [1]})
    refused("its mask 20230611_other.tif is missing", mask={"replace": ["_SR", "_other"], "clear": [1]})
    refused("no such file", file=tmp_path / "nothing_SR.tif")
    nameless = write(tmp_path / "picture.tif", values)
    refused("states no date", file=nameless, mask=None)
    with pytest.raises(ConfigError, match="cannot be read"):
        lc("preprocess", "raster", path, "--sensor", tmp_path / "none.yaml", "--out", out)
    assert not out.exists()
    refused("has no band 9", mask={"replace": ["_SR", "_udm2"], "band": 9, "clear": [1]})
    assert not list(out.glob("*"))
