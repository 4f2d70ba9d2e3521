"""Ready-made series: GeoTIFF per date, NetCDF, Zarr; made ones and a real one."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine

from landcover_cli.core.lattice import Lattice
from landcover_cli.core.types import MASK_BAD, MASK_CLEAR, MASK_NODATA, Period
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.io.stack import StackReader, StackSettings, scan_stack
from landcover_cli.io.stackfile import Hints
from landcover_cli.registry import load

LATTICE = Lattice("EPSG:32633", 10.0, (600000.0, 4999900.0, 600120.0, 5000000.0))


def settings(sensor="sentinel1", units="linear", bands=(), mask="none", hints=None, **rest) -> StackSettings:
    return StackSettings(
        "src", load("sensor", sensor), bands, units, load("mask", mask), hints=hints or Hints(), **rest
    )


def tiff(path, values_byx, names=(), tags=None, nodata=np.nan, left=600000):
    count, height, width = values_byx.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": values_byx.dtype}
    transform = Affine(10, 0, left, 0, -10, 5000000)
    with rasterio.open(path, "w", crs="EPSG:32633", transform=transform, nodata=nodata, **profile) as dataset:
        dataset.write(values_byx)
        for i, name in enumerate(names, start=1):
            dataset.set_band_description(i, name)
        dataset.update_tags(**(tags or {}))
    return path


def power(seed=0, count=2):
    return np.random.default_rng(seed).lognormal(-2, 0.5, (count, 10, 12)).astype("float32")


def read(stack, lattice=LATTICE):
    with StackReader(stack) as reader:
        return [reader.read(look, lattice) for look in stack.dates]


def test_tiffs_by_tag_by_name_and_by_pattern(tmp_path):
    a = tiff(tmp_path / "x.tif", power(1), ("VV", "VH"), {"ACQUISITION_DATETIME": "2021-03-05T17:00:01Z"})
    b = tiff(
        tmp_path / "S1A_20210311T165931_y.tif", power(2), ("VV", "VH"), {"TIFFTAG_DATETIME": "2024:01:01 00:00:00"}
    )
    stack = scan_stack([b, a], settings())
    assert [look.when for look in stack.dates] == [
        datetime(2021, 3, 5, 17, 0, 1, tzinfo=UTC),
        datetime(2021, 3, 11, 16, 59, 31, tzinfo=UTC),
    ]
    assert stack.settings.bands == ("VV", "VH")
    for (data, codes), seed in zip(read(stack), (1, 2), strict=True):
        np.testing.assert_array_equal(data, power(seed))
        assert (codes == MASK_CLEAR).all()
    c = tiff(tmp_path / "05.04.2021_vv_vh.tif", power(3), ("VV", "VH"))
    with pytest.raises(InputError, match=r"05\.04\.2021.*no date"):
        scan_stack([c], settings())
    hints = Hints(date_pattern=r"(?P<day>\d\d)\.(?P<month>\d\d)\.(?P<year>\d{4})")
    assert scan_stack([c], settings(hints=hints)).dates[0].when.date() == date(2021, 4, 5)


def test_periods_and_ground_choose_dates(tmp_path):
    for day in ("20210305", "20210401"):
        tiff(tmp_path / f"a_{day}.tif", power(), ("VV", "VH"))
    stack = scan_stack(tmp_path.glob("*.tif"), settings())
    march = Period(date(2021, 3, 1), date(2021, 4, 1))
    assert len(stack.within(march)) == 1
    assert len(stack.within(march, LATTICE.bounds_m, "EPSG:32633")) == 1
    assert not stack.within(march, (0, 0, 10, 10), "EPSG:32633")


def test_decibels_become_power_and_holes_stay_holes(tmp_path):
    db = np.array([-10.0, 0.0, -20.0, -9999.0], "float32")
    values = np.tile(np.resize(db, (1, 10, 12)), (2, 1, 1))
    tiff(tmp_path / "a_20210305.tif", values, ("VV", "VH"), nodata=-9999)
    ((data, codes),) = read(scan_stack(tmp_path.glob("*.tif"), settings(units="db")))
    np.testing.assert_allclose(data[0, 0, :3], [0.1, 1.0, 0.01], rtol=1e-6)
    assert np.isnan(data[0, 0, 3])
    assert codes[0, :4].tolist() == [MASK_CLEAR, MASK_CLEAR, MASK_CLEAR, MASK_NODATA]


def test_power_of_zero_means_nothing(tmp_path):
    values = power()
    values[0, 0, 0] = 0
    values[1, 0, 1] = -0.001
    tiff(tmp_path / "a_20210305.tif", values, ("VV", "VH"))
    ((_, codes),) = read(scan_stack(tmp_path.glob("*.tif"), settings()))
    assert codes[0, :3].tolist() == [MASK_NODATA, MASK_NODATA, MASK_CLEAR]


def test_one_file_per_band_is_one_look_and_one_file_per_tile_is_two(tmp_path):
    for band in ("VV", "VH"):
        tiff(tmp_path / f"s1_20210305_{band}.tif", power()[:1])
        tiff(tmp_path / f"s1_20210305_{band}_east.tif", power(5)[:1], left=600120)
    stack = scan_stack(tmp_path.glob("*.tif"), settings())
    assert len(stack.dates) == 2
    assert {look.bounds_m[0] for look in stack.dates} == {600000.0, 600120.0}


def test_bands_that_nobody_names_are_asked_for(tmp_path):
    path = tiff(tmp_path / "a_20210305.tif", power())
    with pytest.raises(InputError, match="2 bands without a name"):
        scan_stack([path], settings())
    stack = scan_stack([path], settings(hints=Hints(file_bands=("VH", "VV"))))
    np.testing.assert_array_equal(read(stack)[0][0][0], power()[1])
    with pytest.raises(InputError, match="`file_bands` names 3"):
        scan_stack([path], settings(hints=Hints(file_bands=("VH", "VV", "HH"))))


def test_a_missing_band_is_named_and_an_unknown_one_too(tmp_path):
    path = tiff(tmp_path / "a_20210305.tif", power(), ("VV", "VH"))
    with pytest.raises(InputError, match=r"'src': band HH is missing in a_20210305\.tif \(found: VH, VV\)"):
        scan_stack([path], settings(bands=("VV", "HH")))
    with pytest.raises(ConfigError, match="no band 'B02'"):
        scan_stack([path], settings(bands=("B02",)))


def test_orbit_directions_are_never_mixed_unasked(tmp_path):
    for day, way in (("05", "ASCENDING"), ("07", "DESCENDING")):
        tiff(tmp_path / f"a_202103{day}.tif", power(), ("VV", "VH"), {"ORBIT_DIRECTION": way})
    paths = list(tmp_path.glob("*.tif"))
    with pytest.raises(InputError, match="ascending and descending"):
        scan_stack(paths, settings())
    assert len(scan_stack(paths, settings(orbit="descending")).dates) == 1
    assert len(scan_stack(paths, settings(orbit="mixed")).dates) == 2


def series(
    gsd=10.0, names=("B02", "B03"), crs="attrs", flip=False, dates=("2021-03-05T10:00:00", "2021-03-10T10:00:00")
):
    n = round(100 / gsd)
    m = round(120 / gsd)
    rng = np.random.default_rng(7)
    x = 600000 + gsd * (np.arange(m) + 0.5)
    y = 5000000 - gsd * (np.arange(n) + 0.5)
    times = np.array(dates, "datetime64[ns]")
    data = {
        name: (("timestamp", "y", "x"), rng.integers(1, 9000, (len(times), n, m)).astype("uint16")) for name in names
    }
    ds = xr.Dataset(data, {"timestamp": times, "y": y, "x": x})
    for name in names:
        ds[name].attrs = {"scale_factor": 0.0001, "_FillValue": np.uint16(0), "grid_mapping": "spatial_ref"}
    if crs == "attrs":
        ds.attrs["crs"] = "+init=epsg:32633"
    return ds.isel(y=slice(None, None, -1)) if flip else ds


@pytest.mark.parametrize("kind", ["nc", "zarr"])
@pytest.mark.parametrize("flip", [False, True])
def test_arrays_with_dates(tmp_path, kind, flip):
    ds = series(flip=flip)
    path = tmp_path / f"s.{kind}"
    if kind == "nc":
        ds.to_netcdf(path, engine="h5netcdf")
    else:
        ds.to_zarr(path, zarr_format=2, consolidated=True)
    stack = scan_stack([path], settings("sentinel2", "reflectance_dn"))
    looks = read(stack)
    assert len(looks) == 2
    for t, (data, _) in enumerate(looks):
        for b, name in enumerate(("B02", "B03")):
            raw = series()[name].values[t]
            np.testing.assert_array_equal(data[b], raw + 1000)
    scaled = scan_stack([path], settings("sentinel2", "reflectance"))
    np.testing.assert_array_equal(read(scaled)[0][0], looks[0][0])


def test_one_variable_with_a_band_axis(tmp_path):
    ds = series()
    stacked = ds.to_dataarray("band").transpose("timestamp", "band", "y", "x").to_dataset(name="reflectance")
    stacked.attrs["crs"] = "EPSG:32633"
    stacked.to_netcdf(tmp_path / "s.nc", engine="h5netcdf")
    stack = scan_stack([tmp_path / "s.nc"], settings("sentinel2", "reflectance_dn"))
    np.testing.assert_array_equal(read(stack)[1][0][1], ds["B03"].values[1] + 1000)


def test_ten_and_twenty_metres_are_matched_by_date_with_the_mask_of_one(tmp_path, caplog):
    ten = series(dates=("2021-03-05T10:00:00", "2021-03-10T10:00:00", "2021-03-15T10:00:00"))
    twenty = series(20.0, ("B11",), dates=("2021-03-05T10:00:00", "2021-03-10T10:00:00"))
    scl = np.full((2, 5, 6), 4, "uint8")
    scl[1, 2, 3] = 1
    scl[1, 0, 0] = 0
    twenty["SCL"] = (("timestamp", "y", "x"), scl, {"_FillValue": np.uint8(0), "scale_factor": 1})
    ten.to_netcdf(tmp_path / "10.nc", engine="h5netcdf")
    twenty.to_netcdf(tmp_path / "20.nc", engine="h5netcdf")
    logging.getLogger("lc").propagate = True
    with caplog.at_level(logging.WARNING, logger="lc"):
        stack = scan_stack(
            tmp_path.glob("*.nc"),
            settings("sentinel2", "reflectance_dn", ("B02", "B11"), "scl", mask_options={"nodata_m": 0.0}),
        )
    assert "1 dates lack a band" in caplog.text
    (_, clear), (_, codes) = read(stack)
    assert (clear == MASK_CLEAR).all()
    expected = np.where(scl[1] == 0, MASK_NODATA, np.where(scl[1] == 1, MASK_BAD, MASK_CLEAR))
    np.testing.assert_array_equal(codes, np.repeat(np.repeat(expected, 2, 0), 2, 1))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda ds: ds.assign_attrs(crs="nonsense"), "states no CRS"),
        (lambda ds: ds.drop_vars("timestamp"), "no time axis"),
        (lambda ds: ds.rename(B02="foo", B03="bar"), "no variable is a band"),
        (lambda ds: ds.isel(x=[0, 1, 3]), "regular grid"),
        (lambda ds: ds.drop_vars("x"), "x and y"),
    ],
)
def test_arrays_that_say_too_little_are_named(tmp_path, change, match):
    change(series()).to_netcdf(tmp_path / "bad.nc", engine="h5netcdf")
    with pytest.raises(InputError, match=rf"bad\.nc.*{match}"):
        scan_stack([tmp_path / "bad.nc"], settings("sentinel2", "reflectance_dn"))


def test_what_is_no_series_is_named(tmp_path):
    (tmp_path / "x.nc").write_bytes(b"no netcdf")
    (tmp_path / "y.zarr").mkdir()
    for name in ("x.nc", "y.zarr", "absent.nc"):
        with pytest.raises(InputError, match=name):
            scan_stack([tmp_path / name], settings("sentinel2", "reflectance_dn"))


def test_the_real_patch(shared_data):
    """Values of one date against the file read with another library, by hand."""
    import h5py

    folder = shared_data("labelled/worldcereal-patches") / "00002806639B424A"
    (path,) = folder.glob("S1_*.nc")
    stack = scan_stack([path], settings(units="db"))
    assert (stack.settings.bands, len(stack.dates)) == (("VV", "VH"), 159)
    lattice = Lattice("EPSG:32631", 20.0, (501360.0, 5629040.0, 502000.0, 5629680.0))
    with StackReader(stack) as reader:
        data, codes = reader.read(stack.dates[40], lattice)
    with h5py.File(path) as file:
        raw = file["VV"][40].astype(float)
    np.testing.assert_allclose(data[0], 10 ** (raw * 1e-4 / 10), rtol=1e-6)
    assert (codes == MASK_CLEAR).all()
