from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
import xarray as xr
from affine import Affine

from landcover_cli.core.grid import geobox_from_bounds
from landcover_cli.errors import InputError
from landcover_cli.io.labelraster import codes_on_grid, open_class_raster
from landcover_cli.io.labelsource import LabelSource, write_labels_whole
from landcover_cli.labels.crosswalk import parse_crosswalk
from landcover_cli.labels.legend import Legend, parse_legend

LEGEND = parse_legend({"id": "toy", "classes": {10: "a", 20: "b", 9920: "c"}}, "t")
GRID = geobox_from_bounds((500_000.0, 5_000_000.0, 500_200.0, 5_000_200.0), 10.0, "EPSG:32631")


TOP = pyproj.Transformer.from_crs(32631, 4326, always_xy=True).transform(500_000, 5_000_200)[1] + 1e-4


def write_raster(
    path: Path, codes: np.ndarray, affine: Affine = GRID.affine, crs: str | None = "EPSG:32631", **more: Any
) -> Path:
    bands = codes if codes.ndim == 3 else codes[None]
    count, height, width = bands.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            dtype=bands.dtype.name,
            count=count,
            height=height,
            width=width,
            transform=affine,
            crs=crs,
            **more,
        ) as sink:
            sink.write(bands)
    return path


def random_codes(shape: tuple[int, int] = (20, 20)) -> np.ndarray:
    return np.random.default_rng(3).choice(np.array([0, 10, 20, 9920], np.uint16), shape)


def test_a_raster_on_the_grid_is_read_as_it_is(tmp_path: Path) -> None:
    codes = random_codes()
    path = write_raster(tmp_path / "r.tif", codes, nodata=0)
    index, facts = LabelSource(path, LEGEND).read(GRID)
    assert np.array_equal(index, np.select([codes == 10, codes == 20, codes == 9920], [0, 1, 2], 255))
    assert facts.class_px == tuple(int((codes == code).sum()) for code in LEGEND.codes)


@pytest.mark.parametrize("step", [3.0, 7.0, 10.0, 20.0, 33.0])
def test_nearest_takes_the_source_pixel_under_the_centre(tmp_path: Path, step: float) -> None:
    codes = random_codes((90, 90))
    affine = Affine(step, 0, 499_950.0, 0, -step, 5_000_260.0)
    path = write_raster(tmp_path / "r.tif", codes, affine)
    with open_class_raster(path) as raster:
        got, valid = codes_on_grid(raster, GRID)
    for row in range(20):
        for col in range(20):
            x, y = GRID.affine * (col + 0.5, row + 0.5)
            i, j = int((5_000_260.0 - y) // step), int((x - 499_950.0) // step)
            inside = 0 <= i < 90 and 0 <= j < 90
            assert valid[row, col] == inside
            assert got[row, col] == (codes[i, j] if inside else 0)


def test_a_raster_in_degrees_agrees_however_the_area_is_cut(tmp_path: Path) -> None:
    codes = random_codes((400, 400))
    path = write_raster(tmp_path / "r.tif", codes, Affine(1e-5, 0, 2.999, 0, -1e-5, TOP), "EPSG:4326")
    with open_class_raster(path) as raster:
        whole, valid = codes_on_grid(raster, GRID)
        cuts = [slice(0, 7), slice(7, 14), slice(14, 20)]
        parts = np.block([[codes_on_grid(raster, GRID[rows, cols])[0] for cols in cuts] for rows in cuts])
    assert valid.all()
    assert np.array_equal(whole, parts)
    assert len(np.unique(whole)) == 4


def test_unknown_codes_are_listed(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "r.tif", random_codes() + 1)
    with pytest.raises(InputError, match="1, 11, 21, 9921 not in legend 'toy'") as caught:
        LabelSource(path, LEGEND).read(GRID)
    assert "r.tif" in caught.value.problem


def test_crosswalk_and_ignored_codes(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "r.tif", random_codes())
    crosswalk = parse_crosswalk({"map": {10: 20, 20: 20, 9920: None}}, "c", LEGEND)
    _, facts = LabelSource(path, LEGEND, crosswalk, ignore=(0,)).read(GRID)
    codes = random_codes()
    assert facts.class_px == (0, int(np.isin(codes, [10, 20]).sum()), 0)


def test_a_float_raster_of_whole_numbers_is_a_class_raster(tmp_path: Path) -> None:
    codes = random_codes().astype(np.float32)
    codes[0, 0] = np.nan
    path = write_raster(tmp_path / "r.tif", codes)
    index, _ = LabelSource(path, LEGEND, ignore=(0,)).read(GRID)
    assert index[0, 0] == 255
    codes[1, 1] = 10.5
    with pytest.raises(InputError, match=r"10\.5, which is no class code"):
        LabelSource(write_raster(tmp_path / "s.tif", codes), LEGEND, ignore=(0,)).read(GRID)


def test_bands_must_be_named_where_there_are_several(tmp_path: Path) -> None:
    codes = random_codes()
    path = write_raster(tmp_path / "r.tif", np.stack([codes, codes[::-1]]), nodata=0)
    with pytest.raises(InputError, match="has 2 bands"):
        LabelSource(path, LEGEND).read(GRID)
    with pytest.raises(InputError, match="no band '3'"):
        LabelSource(path, LEGEND, layer="3").read(GRID)
    index, _ = LabelSource(path, LEGEND, layer="2").read(GRID)
    assert np.array_equal(index == 0, codes[::-1] == 10)


def test_bad_rasters_are_named(tmp_path: Path) -> None:
    no_crs = write_raster(tmp_path / "nocrs.tif", random_codes(), crs=None)
    with pytest.raises(InputError, match="has no CRS"):
        LabelSource(no_crs, LEGEND).read(GRID)
    whole = write_raster(tmp_path / "whole.tif", random_codes((300, 300)), compress="DEFLATE").read_bytes()
    for size in (0, 60, len(whole) // 2):
        (tmp_path / "cut.tif").write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"cut\.tif"):
            LabelSource(tmp_path / "cut.tif", LEGEND).read(GRID)
    (tmp_path / "cut.nc").write_bytes(b"no netcdf")
    for name in ("cut.nc", "none.tif", "none.nc", "none.gpkg"):
        with pytest.raises(InputError, match=name):
            LabelSource(tmp_path / name, LEGEND).read(GRID)


def write_features(path: Path, crs: str = "EPSG:32631") -> Path:
    x0, y0 = 500_000.0, 5_000_000.0
    shapes = [
        shapely.box(x0, y0, x0 + 100, y0 + 200),
        shapely.box(x0 + 100, y0, x0 + 200, y0 + 200),
        shapely.box(x0, y0, x0 + 9, y0 + 9),
        None,
    ]
    frame = geopandas.GeoDataFrame(
        {"code": [10, 20, None, 9920], "who": list("wxyz")}, geometry=shapes, crs="EPSG:32631"
    )
    frame = frame.to_crs(crs)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_file(path)
    return path


@pytest.mark.parametrize("name", ["f.gpkg", "f.geojson", "f.parquet"])
@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:4326"])
def test_polygons_from_a_file(tmp_path: Path, name: str, crs: str) -> None:
    path = write_features(tmp_path / name, crs)
    index, facts = LabelSource(path, LEGEND).read(GRID)
    assert facts.class_px == (200, 200, 0)
    assert facts.skipped == 1  # the feature without a value; one without a place is nowhere
    assert (index[:, :10] == 0).all()


def test_an_area_cuts_the_labels(tmp_path: Path) -> None:
    path = write_features(tmp_path / "f.gpkg")
    _, facts = LabelSource(path, LEGEND).read(GRID, shapely.box(500_050, 5_000_000, 500_150, 5_000_100))
    assert facts.class_px == (50, 50, 0)


def test_class_names_as_attribute(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame({"kind": ["b", "c"]}, geometry=[shapely.Point(500_005, 5_000_005)] * 2, crs=32631)
    frame.to_file(tmp_path / "p.gpkg")
    _, facts = LabelSource(tmp_path / "p.gpkg", LEGEND).read(GRID)
    assert (facts.total_px, facts.contradictory_px) == (0, 1)
    frame["more"] = 1
    frame.to_file(tmp_path / "q.gpkg")
    with pytest.raises(InputError, match="which attribute") as caught:
        LabelSource(tmp_path / "q.gpkg", LEGEND).read(GRID)
    assert "'kind', 'more'" in caught.value.remedy


def test_the_written_file_is_whole_coloured_and_repeatable(tmp_path: Path) -> None:
    source = LabelSource(write_raster(tmp_path / "r.tif", random_codes(), nodata=0), LEGEND)
    write_labels_whole(tmp_path / "a.tif", source, GRID)
    write_labels_whole(tmp_path / "b.tif", source, GRID)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "b.tif", "r.tif"]
    with rasterio.open(tmp_path / "a.tif") as file:
        assert (file.dtypes[0], file.nodata) == ("uint8", 255)
        assert file.colormap(1)[2][:3] == LEGEND.classes[2].rgb
        assert file.tags()["LC_LEGEND_ID"] == "toy"
        assert np.array_equal(file.read(1), source.read(GRID)[0])


def test_more_than_254_classes_are_written_as_uint16(tmp_path: Path) -> None:
    legend = Legend("big", "1", parse_legend({"classes": {i: f"c{i}" for i in range(300)}}, "b").classes)
    codes = np.arange(400).reshape(20, 20).astype(np.uint16) % 300
    write_labels_whole(tmp_path / "a.tif", LabelSource(write_raster(tmp_path / "r.tif", codes), legend), GRID)
    with rasterio.open(tmp_path / "a.tif") as file:
        assert (file.dtypes[0], file.nodata) == ("uint16", 65535)
        assert np.array_equal(file.read(1), codes)


def test_labels_elsewhere_give_no_file(tmp_path: Path) -> None:
    far = geobox_from_bounds((600_000.0, 5_000_000.0, 600_100.0, 5_000_100.0), 10.0, "EPSG:32631")
    for path in (write_raster(tmp_path / "r.tif", random_codes()), write_features(tmp_path / "f.gpkg")):
        with pytest.raises(InputError, match=r"no label pixel in x 600000\.0 … .*they span x 500000\.0"):
            write_labels_whole(tmp_path / "out.tif", LabelSource(path, LEGEND, ignore=(0,)), far)
    assert not (tmp_path / "out.tif").exists()


def test_netcdf_by_plain_attributes(tmp_path: Path) -> None:
    codes = random_codes()
    x, y = 500_005.0 + 10 * np.arange(20), 5_000_195.0 - 10 * np.arange(20)
    variable = xr.Variable(("y", "x"), codes, {"_FillValue": np.uint16(0)})
    for attrs in ({"epsg": "32631"}, {"crs": "+init=epsg:32631"}):
        dataset = xr.Dataset({"LC": variable, "CT": variable}, {"x": x, "y": y}, attrs)
        dataset.to_netcdf(tmp_path / "l.nc", engine="h5netcdf")
        index, _ = LabelSource(tmp_path / "l.nc", LEGEND, layer="LC").read(GRID)
        assert np.array_equal(index == 255, codes == 0)
        with pytest.raises(InputError, match="has 2 class variables"):
            LabelSource(tmp_path / "l.nc", LEGEND).read(GRID)
    dataset.attrs.clear()
    dataset.to_netcdf(tmp_path / "m.nc", engine="h5netcdf")
    with pytest.raises(InputError, match="LC has no CRS"):
        LabelSource(tmp_path / "m.nc", LEGEND, layer="LC").read(GRID)


def test_real_patches(shared_data: Callable[[str], Path]) -> None:
    # Pixel counts as listed in the data set's description.
    folder = shared_data("labelled/worldcereal-patches") / "00002806639B424A"
    path = next(folder.glob("OUTPUT*.nc"))
    grid = geobox_from_bounds((501_360.0, 5_629_040.0, 502_000.0, 5_629_680.0), 10.0, "EPSG:32631")
    legend = parse_legend({"id": "wc", "classes": {11: "crop", 13: "grass"}}, "wc")
    _, facts = LabelSource(path, legend, layer="LC", ignore=(60, 99)).read(grid)
    assert facts.class_px == (1401, 835)
    with pytest.raises(InputError, match="60, 99 not in legend 'wc'"):
        LabelSource(path, legend, layer="LC").read(grid)
    with pytest.raises(InputError, match="no class variable 'XX'"):
        LabelSource(path, legend, layer="XX").read(grid)


def test_an_empty_file_has_no_label_pixel(tmp_path: Path) -> None:
    path = tmp_path / "e.geojson"
    path.write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(InputError, match=r"no label pixel .*holds none"):
        write_labels_whole(tmp_path / "out.tif", LabelSource(path, LEGEND, attribute="code"), GRID)
