"""The cube store against arrays in memory."""

from __future__ import annotations

import hashlib
import pickle
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_cli.core.types import Period, split_periods
from landcover_cli.errors import InputError
from landcover_cli.io.cubestore import CubeSeries, CubeSpec, CubeWriter, check_cube, make_cube, write_cube

PERIODS = split_periods(date(2021, 3, 1), date(2021, 6, 1), "month")


def spec(bounds=(600000.0, 5000000.0, 600400.0, 5000300.0), periods=PERIODS, dtype="uint16", **changes) -> CubeSpec:
    values = {
        "source": "s2",
        "sensor": "sentinel2",
        "kind": "series" if periods else "image",
        "bands": ("B02", "B8A"),
        "units": "reflectance_dn",
        "scale": 1e-4,
        "offset": -0.1,
        "gsd_m": 10.0,
        "crs": "EPSG:32633",
        "bounds_m": bounds,
        "periods": tuple(periods),
        "dtype": dtype,
        "attrs": {"method": "mean"},
    }
    return CubeSpec(**{**values, **changes})


def cube(of: CubeSpec, seed: int = 0) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    time, band, height, width = of.shape_tbyx
    valid = rng.random((time, height, width)) < 0.7
    data = rng.integers(1, 12000, (time, band, height, width)).astype(of.dtype)
    data = np.where(valid[:, None], data, np.nan if of.dtype == "float32" else 0).astype(of.dtype)
    n_clear = valid * rng.integers(1, 5, valid.shape).astype("uint16")
    return make_cube(of, data, valid, n_clear.astype("uint16"), (n_clear + 1).astype("uint16"))


def tree(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_cube_is_read_back_by_xarray_and_rioxarray(tmp_path, dtype):
    import rioxarray  # noqa: F401  registers `.rio`

    ds = cube(spec(dtype=dtype))
    write_cube(tmp_path / "c.zarr", ds)
    back = xr.open_zarr(tmp_path / "c.zarr", chunks=None, mask_and_scale=False, decode_coords="all")
    np.testing.assert_array_equal(back["data"], ds["data"])
    for name in ("valid", "n_clear", "n_obs"):
        np.testing.assert_array_equal(back[name], ds[name])
        assert back[name].dtype == ds[name].dtype
    assert back["data"].dtype == dtype
    np.testing.assert_array_equal(back["time"], ds["time"])
    assert list(back["band"].values) == ["B02", "B8A"]
    assert back["data"].rio.crs.to_epsg() == 32633
    assert list(back["data"].rio.bounds()) == ds.attrs["bounds_m"]


def test_decoded_by_cf_rules_it_holds_reflectance_and_nan(tmp_path):
    ds = cube(spec())
    write_cube(tmp_path / "c.zarr", ds)
    back = xr.open_zarr(tmp_path / "c.zarr", chunks=None)
    expected = np.where(ds["valid"].values[:, None], ds["data"].values * 1e-4 - 0.1, np.nan)
    np.testing.assert_allclose(back["data"], expected, atol=1e-6)


def test_the_same_values_give_the_same_bytes(tmp_path):
    ds = cube(spec())
    for name in ("a.zarr", "b.zarr"):
        write_cube(tmp_path / name, ds)
    assert tree(tmp_path / "a.zarr") == tree(tmp_path / "b.zarr")


def test_windows_written_in_any_order_give_the_bytes_of_the_whole(tmp_path):
    of = spec(bounds=(600000.0, 5000000.0, 605200.0, 5002600.0), periods=PERIODS[:1])
    ds = cube(of)
    write_cube(tmp_path / "whole.zarr", ds)
    writer = CubeWriter(tmp_path / "parts.zarr", of)
    for x in (512, 0, 256):
        for y in (256, 0):
            yx = (slice(y, y + 256), slice(x, x + 256))
            values = (ds[name].values[0][..., *yx] for name in ("data", "valid", "n_clear", "n_obs"))
            writer.write(0, y, x, *values)
    writer.close()
    assert tree(tmp_path / "whole.zarr") == tree(tmp_path / "parts.zarr")


@settings(max_examples=8)
@given(st.integers(-5, 50), st.integers(-5, 40), st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**31))
def test_any_window_over_pieces_equals_the_window_of_the_whole(tmp_path_factory, x, y, width, height, seed):
    folder = tmp_path_factory.mktemp("cube")
    whole = cube(spec(), seed)
    write_cube(folder / "whole.zarr", whole)
    pieces = []
    for i, (x0, x1) in enumerate(((0, 20), (20, 40))):
        for t, period in enumerate(PERIODS):
            if (i, t) == (1, 1):
                continue  # a piece that does not exist: that period is missing there
            left = 600000.0 + 10 * x0
            part = spec((left, 5000000.0, 600000.0 + 10 * x1, 5000300.0), (period,))
            at = (slice(t, t + 1), ..., slice(x0, x1))
            values = (whole[name].values[at] for name in ("data", "valid", "n_clear", "n_obs"))
            pieces.append(folder / f"{i}_{t}.zarr")
            write_cube(pieces[-1], make_cube(part, *values))
    bounds = (600000.0 + 10 * x, 5000300.0 - 10 * (y + height), 600000.0 + 10 * (x + width), 5000300.0 - 10.0 * y)
    one, many = CubeSeries.open([folder / "whole.zarr"]), CubeSeries.open(reversed(pieces))
    assert many.periods == one.periods == PERIODS
    assert many.bounds_m == one.bounds_m
    expected, found = one.read(bounds), pickle.loads(pickle.dumps(many)).read(bounds)
    columns = np.arange(x, x + width)
    lost = (columns >= 20) & (columns < 40)
    expected.data_tbyx[1][..., lost] = 0
    expected.valid_tyx[1][..., lost] = False
    expected.n_clear_tyx[1][..., lost] = 0
    for name in ("data_tbyx", "valid_tyx", "n_clear_tyx"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    padded = np.zeros((50 + 30, 60 + 30), bool)
    padded[10:40, 10:50] = whole["valid"].values[0]
    np.testing.assert_array_equal(one.read(bounds).valid_tyx[0], padded[y + 10 :, x + 10 :][:height, :width])


def test_float_cubes_never_hand_out_nan(tmp_path):
    write_cube(tmp_path / "c.zarr", cube(spec(dtype="float32")))
    window = CubeSeries.open([tmp_path / "c.zarr"]).read((599900.0, 5000000.0, 600400.0, 5000300.0))
    assert window.data_tbyx.dtype == np.float32
    assert np.isfinite(window.data_tbyx).all()
    assert (window.data_tbyx[:, 0][~window.valid_tyx] == 0).all()


def test_an_image_has_one_time_and_no_period(tmp_path):
    of = spec(periods=(), dtype="float32")
    write_cube(tmp_path / "c.zarr", cube(of))
    series = CubeSeries.open([tmp_path / "c.zarr"])
    assert series.kind == "image"
    assert series.periods == ()
    assert series.read(series.bounds_m).data_tbyx.shape == (1, 2, 30, 40)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"source": "s1"}, "source"),
        ({"bands": ("B02", "B03")}, "bands"),
        ({"gsd_m": 20.0, "bounds_m": (600000.0, 5000000.0, 600400.0, 5000400.0)}, "gsd_m"),
        ({"crs": "EPSG:32634"}, "crs"),
    ],
)
def test_pieces_of_different_cubes_are_refused(tmp_path, change, word):
    write_cube(tmp_path / "a.zarr", cube(spec()))
    write_cube(tmp_path / "b.zarr", cube(spec(**change)))
    with pytest.raises(InputError, match=rf"a\.zarr and .*b\.zarr differ in {word}"):
        CubeSeries.open([tmp_path / "a.zarr", tmp_path / "b.zarr"])


def without_resolution(ds):
    ds = ds.copy()
    del ds.attrs["gsd_m"]
    return ds


@pytest.mark.parametrize(
    "breaks",
    [
        lambda ds: ds.drop_vars("valid"),
        lambda ds: ds.assign(valid=ds["valid"].astype("uint8")),
        lambda ds: ds.transpose("band", "time", "y", "x"),
        lambda ds: ds.isel(x=slice(1, None)),
        lambda ds: ds.assign_coords(y=ds["y"][::-1]),
        lambda ds: ds.assign_attrs({**ds.attrs, "kind": "image"}),
        without_resolution,
        lambda ds: ds.assign_attrs({**ds.attrs, "periods": [["2021-03-01", "2021-05-01"]] * 3}),
    ],
)
def test_what_is_no_cube_is_refused(breaks):
    good = cube(spec())
    check_cube(good)
    with pytest.raises(InputError):
        check_cube(breaks(good))


def test_a_folder_that_is_no_cube_is_named(tmp_path):
    with pytest.raises(InputError, match="nothing"):
        CubeSeries.open([tmp_path / "nothing.zarr"])
    with pytest.raises(InputError, match="no cube piece"):
        CubeSeries.open([])


def test_a_damaged_chunk_is_named(tmp_path):
    write_cube(tmp_path / "c.zarr", cube(spec()))
    chunk = next((tmp_path / "c.zarr" / "data").rglob("c/*/*/*/*"))
    chunk.write_bytes(chunk.read_bytes()[:40])
    series = CubeSeries.open([tmp_path / "c.zarr"])
    with pytest.raises(InputError, match="data is damaged"):
        series.read(series.bounds_m)


def test_windows_off_the_lattice_are_refused(tmp_path):
    write_cube(tmp_path / "c.zarr", cube(spec()))
    series = CubeSeries.open([tmp_path / "c.zarr"])
    with pytest.raises(InputError, match="lattice"):
        series.read((600005.0, 5000000.0, 600400.0, 5000300.0))


def test_periods_keep_their_label(tmp_path):
    days = (Period(date(2021, 3, 1), date(2021, 3, 11)),)
    write_cube(tmp_path / "c.zarr", cube(spec(periods=days)))
    assert CubeSeries.open([tmp_path / "c.zarr"]).periods[0].label == "2021-03-01_2021-03-10"
