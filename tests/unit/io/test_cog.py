from __future__ import annotations

import ctypes
import hashlib
import resource
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import given
from hypothesis import strategies as st

from landcover_cli.core.windows import PixelBox
from landcover_cli.errors import StorageError
from landcover_cli.io.cog import check_cog, write_cog
from landcover_cli.io.pam import write_class_pam
from landcover_cli.io.qml import class_style, ramp_style, write_style
from landcover_cli.io.tilewriter import Layer, TileWriter
from landcover_cli.labels.legend import Legend, LegendClass


# The few GDAL calls that rasterio does not offer, through the library that rasterio ships: an independent reader.
def _library() -> ctypes.CDLL | None:
    folder = Path(rasterio.__file__).parent.with_name("rasterio.libs")
    found = sorted(folder.glob("libgdal*.so*"))
    if not found:
        return None
    gdal = ctypes.CDLL(str(found[0]))
    gdal.GDALOpen.restype = gdal.GDALGetRasterBand.restype = gdal.GDALGetDefaultRAT.restype = ctypes.c_void_p
    gdal.GDALOpen.argtypes = [ctypes.c_char_p, ctypes.c_int]
    gdal.GDALGetRasterBand.argtypes = [ctypes.c_void_p, ctypes.c_int]
    gdal.GDALGetRasterCategoryNames.restype = ctypes.POINTER(ctypes.c_char_p)
    gdal.GDALGetRasterCategoryNames.argtypes = [ctypes.c_void_p]
    gdal.GDALGetDefaultRAT.argtypes = gdal.GDALClose.argtypes = [ctypes.c_void_p]
    gdal.GDALRATGetRowCount.argtypes = gdal.GDALRATGetColumnCount.argtypes = [ctypes.c_void_p]
    gdal.GDALRATGetValueAsString.restype = gdal.GDALRATGetNameOfCol.restype = ctypes.c_char_p
    gdal.GDALRATGetValueAsString.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    gdal.GDALRATGetNameOfCol.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return gdal


GDAL = _library()


def categories(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Category names and rows of the raster attribute table of band 1, as GDAL reads them."""
    assert GDAL is not None
    GDAL.GDALAllRegister()
    dataset = GDAL.GDALOpen(str(path).encode(), 0)
    band = GDAL.GDALGetRasterBand(dataset, 1)
    # GDAL reads the side file lazily, and the call for names does not wake it; every program asks for more than that.
    table = GDAL.GDALGetDefaultRAT(band)
    names, index = [], 0
    found = GDAL.GDALGetRasterCategoryNames(band)
    while found and found[index]:
        names.append(found[index].decode())
        index += 1
    columns = [GDAL.GDALRATGetNameOfCol(table, i).decode() for i in range(GDAL.GDALRATGetColumnCount(table))]
    rows = [
        {name: GDAL.GDALRATGetValueAsString(table, row, i).decode() for i, name in enumerate(columns)}
        for row in range(GDAL.GDALRATGetRowCount(table))
    ]
    GDAL.GDALClose(dataset)
    return names, rows


LEGEND = Legend(
    "crops & <cover>",
    "2.1",
    (
        LegendClass(9920, "Wald & Busch <dicht>", "#00ff10", 'trees "dense"'),
        LegendClass(7, "Ḥaql", "#ffcc00"),
        LegendClass(11, "water", "#1f77b4", "lakes"),
    ),
)
COLORS = {index: (*item.rgb, 255) for index, item in enumerate(LEGEND.classes)}


def write(path: Path, values_yx: np.ndarray, layer: Layer) -> PixelBox:
    box = PixelBox(-520000, 50000, -520000 + values_yx.shape[0], 50000 + values_yx.shape[1])
    with TileWriter(path, box, 10.0, "EPSG:32633", layer) as writer:
        writer.write(box, values_yx[None])
    return box


def classes_yx(height: int, width: int, dtype: str = "uint8", nodata: int = 255) -> np.ndarray:
    rng = np.random.default_rng(3)
    blocks = rng.integers(0, 3, (height // 20 + 1, width // 20 + 1))
    values = np.kron(blocks, np.ones((20, 20), int))[:height, :width].astype(dtype)
    values[:30, :40] = nodata
    return values


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", 255), ("uint16", 65535)])
@pytest.mark.parametrize("compress", ["DEFLATE", "ZSTD"])
def test_a_class_map_is_a_strictly_valid_cog_that_keeps_all_it_says(tmp_path, dtype, nodata, compress):
    values = classes_yx(1100, 700, dtype, nodata)
    layer = Layer(dtype, nodata, ("class",), {**COLORS, nodata: (0, 0, 0, 0)}, tags={"LC_LEGEND_ID": "x", "B": "ü"})
    write(tmp_path / "raw.tif", values, layer)
    write_cog(tmp_path / "raw.tif", tmp_path / "map.tif", categorical=True, compress=compress)
    check_cog(tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert (file.read(1) == values).all()
        assert file.nodata == nodata
        assert file.block_shapes == [(512, 512)]
        assert file.tags()["LC_LEGEND_ID"] == "x"
        assert file.tags()["B"] == "ü"
        assert file.colormap(1)[0] == (0, 255, 16, 255)
        assert file.descriptions == ("class",)
        assert file.crs.to_epsg() == 32633
        assert file.bounds[:2] == (500000.0, 5200000.0 - 11000.0)
        # 1100 rows halve to 550 and 275, below one block.
        assert file.overviews(1) == [2, 4]
        assert set(np.unique(file.read(1, out_shape=(275, 175)))) <= {0, 1, 2, nodata}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.tif", "raw.tif"]


def test_overviews_of_classes_take_the_mode_and_skip_nodata(tmp_path):
    values = np.full((1024, 1024), 2, np.uint8)
    values[::2, ::2] = 200
    values[:, 512:] = 255
    values[1::2, 513::2] = 1
    # Without a colour table GDAL would average anything it is not told to leave alone.
    write(tmp_path / "raw.tif", values, Layer("uint8", 255, ("class",)))
    write_cog(tmp_path / "raw.tif", tmp_path / "map.tif", categorical=True)
    with rasterio.open(tmp_path / "map.tif", overview_level=0) as file:
        half = file.read(1)
    assert (half[:, :256] == 2).all()
    assert (half[:, 256:] == 1).all()


def test_overviews_of_numbers_take_the_average_of_valid_pixels(tmp_path):
    values = np.full((1024, 1024), 100, np.uint8)
    values[::2] = 200
    values[:, 1::2] = 255
    write(tmp_path / "raw.tif", values, Layer("uint8", 255, ("confidence",), scale=0.004))
    write_cog(tmp_path / "raw.tif", tmp_path / "map.tif", categorical=False)
    check_cog(tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif", overview_level=0) as file:
        assert (file.read(1) == 150).all()
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.scales == (0.004,)


def test_a_raster_smaller_than_a_block_and_one_of_a_single_pixel_are_valid(tmp_path):
    for size in (1, 37):
        write(tmp_path / "raw.tif", np.ones((size, size), np.uint8), Layer("uint8", 255, ("class",), COLORS))
        write_cog(tmp_path / "raw.tif", tmp_path / "map.tif", categorical=True)
        check_cog(tmp_path / "map.tif")


def test_bytes_do_not_depend_on_threads_nor_on_how_strips_were_cut(tmp_path):
    values = classes_yx(1300, 1100)
    box = PixelBox(-520000, 50000, -520000 + 1300, 50000 + 1100)
    digests = set()
    for threads, step, columns in ((1, 1300, [1100]), (2, 512, [512, 1100]), (3, 77, [1024, 1100]), (1, 1, [1100])):
        with TileWriter(tmp_path / "raw.tif", box, 10.0, "EPSG:32633", Layer("uint8", 255, ("c",), COLORS)) as writer:
            col = 0
            for until in columns:
                for row in range(0, 1300, step):
                    part = values[row : row + step, col:until]
                    corner = (box.row0 + row, box.col0 + col)
                    strip = PixelBox(*corner, corner[0] + part.shape[0], corner[1] + part.shape[1])
                    writer.write(strip, part[None])
                col = until
        write_cog(tmp_path / "raw.tif", tmp_path / "map.tif", categorical=True, threads=threads)
        digests.add(hashlib.sha256((tmp_path / "map.tif").read_bytes()).hexdigest())
    assert len(digests) == 1


@given(st.lists(st.integers(1, 700), min_size=1, max_size=6))
def test_strips_of_any_height_come_out_as_they_went_in(tmp_path, heights):
    total = sum(heights)
    values = np.arange(total * 3, dtype=np.uint16).reshape(total, 3)
    box, row = PixelBox(-9, 4, total - 9, 7), -9
    with TileWriter(tmp_path / "a.tif", box, 10.0, "EPSG:32633", Layer("uint16", 65535, ("n",))) as writer:
        for height in heights:
            writer.write(PixelBox(row, 4, row + height, 7), values[None, row + 9 : row + 9 + height])
            row += height
    with rasterio.open(tmp_path / "a.tif") as file:
        assert (file.read(1) == values).all()


def test_a_strip_that_does_not_follow_is_refused(tmp_path):
    box = PixelBox(0, 0, 20, 5)
    writer = TileWriter(tmp_path / "a.tif", box, 10.0, "EPSG:32633", Layer("uint8", 255, ("n",)))
    writer.write(PixelBox(0, 0, 5, 5), np.zeros((1, 5, 5), np.uint8))
    with pytest.raises(ValueError, match="does not follow row 5"):
        writer.write(PixelBox(6, 0, 9, 5), np.zeros((1, 3, 5), np.uint8))
    writer.close()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("limit", [1_000, 40_000, 200_000])
def test_a_write_that_hits_a_limit_leaves_nothing(tmp_path, limit):
    values = np.random.default_rng(0).integers(0, 250, (1024, 1024), dtype=np.uint8)
    write(tmp_path / "raw.tif", values, Layer("uint8", 255, ("class",)))
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
    try:
        with pytest.raises(StorageError, match="cannot write"):
            write_cog(tmp_path / "raw.tif", tmp_path / "map.tif", categorical=True)
        with pytest.raises(StorageError, match="cannot write"):
            write(tmp_path / "second.tif", values, Layer("uint8", 255, ("class",)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert sorted(path.name for path in tmp_path.iterdir() if "second" not in path.name) == ["raw.tif"]


def test_a_copy_that_differs_from_what_was_written_is_no_result(tmp_path, monkeypatch):
    write(tmp_path / "raw.tif", classes_yx(600, 90), Layer("uint8", 255, ("class",)))
    write(tmp_path / "other.tif", classes_yx(600, 90) + 1, Layer("uint8", 255, ("class",)))
    real = rasterio.shutil.copy
    monkeypatch.setattr(
        rasterio.shutil, "copy", lambda source, *rest, **more: real(str(tmp_path / "other.tif"), *rest, **more)
    )
    with pytest.raises(StorageError, match="differs from what was read back"):
        write_cog(tmp_path / "raw.tif", tmp_path / "map.tif", categorical=True)
    assert not (tmp_path / "map.tif").exists()


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    write(tmp_path / "raw.tif", np.ones((9, 9), np.uint8), Layer("uint8", 255, ("class",)))
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot write"):
        write_cog(tmp_path / "raw.tif", tmp_path / "file" / "map.tif", categorical=True)


@pytest.mark.skipif(GDAL is None, reason="rasterio was not built with a GDAL of its own")
def test_gdal_reads_category_names_and_the_attribute_table(tmp_path):
    write(tmp_path / "raw.tif", classes_yx(40, 50), Layer("uint8", 255, ("class",), COLORS))
    write_cog(tmp_path / "raw.tif", tmp_path / "map.tif", categorical=True)
    write_class_pam(tmp_path / "map.tif", LEGEND)
    names, rows = categories(tmp_path / "map.tif")
    assert names == ["Wald & Busch <dicht>", "Ḥaql", "water"]
    assert [row["Code"] for row in rows] == ["9920", "7", "11"]
    assert [row["Value"] for row in rows] == ["0", "1", "2"]
    assert rows[0]["Description"] == 'trees "dense"'
    assert (rows[1]["Red"], rows[1]["Green"], rows[1]["Blue"], rows[1]["Alpha"]) == ("255", "204", "0", "255")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.colormap(1)[2] == (31, 119, 180, 255)
        assert file.colorinterp[0].name == "palette"


def test_styles_are_xml_with_the_legends_colours_and_names(tmp_path):
    path = write_style(tmp_path / "map.tif", class_style(LEGEND))
    assert path.name == "map.qml"
    root = ET.fromstring(path.read_text(encoding="utf-8"))
    entries = [entry.attrib for entry in root.iter("paletteEntry")]
    assert [entry["label"] for entry in entries] == list(LEGEND.names)
    assert [entry["color"] for entry in entries] == ["#00ff10", "#ffcc00", "#1f77b4"]
    ramp = ET.fromstring(ramp_style(0, 1, ""))
    assert [item.get("value") for item in ramp.iter("item")] == ["0", "0.5", "1"]
