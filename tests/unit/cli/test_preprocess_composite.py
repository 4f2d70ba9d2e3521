"""`lc preprocess s2` and `lc composite` on a small product."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import xarray as xr
from s2product import LEFT, TOP, bands, write_l1c, write_safe
from typer.testing import CliRunner

from landcover_cli.cli.app import app
from landcover_cli.errors import ConfigError, InputError, UsageError

ARGS = ["--start", "2021-06", "--end", "2021-06"]


def lc(*args) -> str:
    result = CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_from_product_to_cube_and_cog(tmp_path):
    from rio_cogeo.cogeo import cog_validate

    values = bands(64, low=1400)
    safe = write_safe(tmp_path, values)
    out = tmp_path / "obs"
    shown = json.loads(lc("preprocess", "s2", safe, "--out", out, "--bands", "B02,B11", "--dry-run", "--json"))
    assert not out.exists()
    assert shown[0]["bands"] == ["B02", "B11"]
    lc("preprocess", "s2", safe, "--out", out, "--bands", "B02,B11")
    cube, cog = tmp_path / "cube.zarr", tmp_path / "june.tif"
    lc("composite", out / safe.stem, "--out", cube, *ARGS, "--export-cog", "2021-06", "--cog", cog)
    ds = xr.open_zarr(cube, chunks=None, mask_and_scale=False)
    np.testing.assert_array_equal(ds["data"][0, 0], values["B02"])
    assert cog_validate(cog, strict=True)[0]
    with rasterio.open(cog) as dataset:
        np.testing.assert_array_equal(dataset.read(1), values["B02"])
        assert tuple(dataset.bounds)[:2] == (LEFT, TOP - 640)
        assert dataset.scales == (1e-4, 1e-4)
        assert dataset.offsets == (-0.1, -0.1)
        assert dataset.descriptions == ("B02", "B11")


def test_what_does_not_fit_is_refused_and_leaves_nothing(tmp_path):
    safe = write_safe(tmp_path, bands(64, low=1400), skip=("B12",))
    out = tmp_path / "obs"
    with pytest.raises(InputError, match="band B12 is missing"):
        lc("preprocess", "s2", safe, "--out", out)
    with pytest.raises(UsageError, match="--crs without --aoi"):
        lc("preprocess", "s2", safe, "--out", out, "--bands", "B02", "--crs", "EPSG:32632")
    assert not out.exists()
    lc("preprocess", "s2", safe, "--out", out, "--bands", "B02")
    lc("preprocess", "s2", safe, "--out", tmp_path / "other", "--bands", "B03")
    cube = tmp_path / "cube.zarr"
    with pytest.raises(InputError, match="differ in bands"):
        lc("composite", out / safe.stem, tmp_path / "other" / safe.stem, "--out", cube, *ARGS)
    with pytest.raises(InputError, match="2022-06-01"):
        lc("composite", out / safe.stem, "--out", cube, "--start", "2022-06", "--end", "2022-06")
    with pytest.raises(UsageError, match="is no period"):
        lc("composite", out / safe.stem, "--out", cube, *ARGS, "--export-cog", "2021-07", "--cog", tmp_path / "x.tif")
    assert not cube.exists()
    with pytest.raises(InputError, match="exists already"):
        lc("preprocess", "s2", safe, "--out", out, "--bands", "B02")


def test_level_1c_gets_fmask_and_never_mixes_with_level_2a(tmp_path):
    values = {k: v for k, v in bands(64, low=1400).items() if k != "SCL"}
    values["B10"] = np.full((11, 11), 1020, "uint16")
    level_1c = write_l1c(tmp_path / "c", values)
    out = tmp_path / "obs"
    lc("preprocess", "s2", level_1c, "--out", out, "--bands", "B02,B10", "--mask-option", "keep_snow=true")
    about = json.loads((out / level_1c.stem / "observation.json").read_text())
    assert about["sensor"] == "sentinel2_l1c"
    assert about["facts"]["mask"]["name"] == "fmask" and about["facts"]["mask"]["keep_snow"] is True
    level_2a = write_safe(tmp_path / "a", bands(64, low=1400))
    with pytest.raises(InputError, match="Level-1C and Level-2A are mixed"):
        lc("preprocess", "s2", level_1c, level_2a, "--out", tmp_path / "other")
    with pytest.raises(InputError, match="band SCL is missing"):
        lc("preprocess", "s2", level_1c, "--out", tmp_path / "other", "--bands", "B02", "--mask", "scl")
    with pytest.raises(ConfigError, match="no option 'cloud'"):
        lc("preprocess", "s2", level_1c, "--out", tmp_path / "other", "--bands", "B02", "--mask-option", "cloud=1")
    with pytest.raises(UsageError, match="is not NAME=VALUE"):
        lc("preprocess", "s2", level_1c, "--out", tmp_path / "other", "--bands", "B02", "--mask-option", "cloud")
    assert not (tmp_path / "other").exists()
