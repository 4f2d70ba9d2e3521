"""The demo as a whole: what is written, that it is the same every time, and what is refused."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from scipy import ndimage

from landcover_cli.config.pipeline import load_pipeline
from landcover_cli.demo.generate import DemoPaths, generate, radar_view
from landcover_cli.demo.region import CLASSES, region
from landcover_cli.demo.simulation import simulate
from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.legendfile import read_legend
from landcover_cli.io.preprocess_s1 import preprocess_s1
from landcover_cli.io.s1_prepare import S1Settings, prepare_s1
from landcover_cli.io.safe_s1 import open_s1_product
from landcover_cli.io.safe_s2 import read_safe_s2

CODES = {entry.code for entry in CLASSES}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> DemoPaths:
    return generate(tmp_path_factory.mktemp("demo") / "tiny", size="tiny")


def digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_same_seed_same_bytes(tiny: DemoPaths, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "again").mkdir(parents=True)
    lines: list[str] = []
    again = generate(tmp_path / "elsewhere" / "again", size="tiny", log=lines.append)
    assert any("14 Sentinel-2 products" in line for line in lines)
    assert digests(again.root) == digests(tiny.root)


def test_other_seed_other_region(tiny: DemoPaths) -> None:
    codes = np.array([entry.code for entry in CLASSES])
    with rasterio.open(tiny.truth) as source:
        truth = source.read(1)
    assert np.array_equal(codes[simulate(region("tiny"), 7).landscape.truth_yx], truth)
    assert not np.array_equal(codes[simulate(region("tiny"), 8).landscape.truth_yx], truth)


def test_no_trace_of_the_machine(tiny: DemoPaths) -> None:
    here = str(tiny.root.parent).encode()
    assert not [path for path in tiny.root.rglob("*") if path.is_file() and here in path.read_bytes()]
    assert not list(tiny.root.parent.glob(".*"))


def test_products_read_back(tiny: DemoPaths) -> None:
    place = region("tiny")
    assert (len(tiny.s2), len(tiny.s1)) == (14, 8)
    offsets = set()
    for safe in tiny.s2:
        scene = read_safe_s2(safe)
        assert scene.id == safe.name.removesuffix(".SAFE")
        assert scene.metadata["boa_add_offset"] == (-1000 if scene.metadata["baseline"] >= "04.00" else 0)
        assert len(scene.assets) == 11
        offsets.add(scene.metadata["boa_add_offset"])
        with rasterio.open(scene.assets["B04"].href) as red, rasterio.open(scene.assets["SCL"].href) as scl:
            assert (red.shape, red.dtypes[0], red.nodata) == ((place.rows, place.cols), "uint16", None)
            assert (scl.shape, scl.dtypes[0], scl.nodata) == ((place.rows // 2, place.cols // 2), "uint8", None)
            assert red.crs.to_epsg() == 32633
            assert np.array_equal(scl.read(1) == 0, (red.read(1) == 0).reshape(48, 2, 96, 2).any(axis=(1, 3)))
    assert offsets == {0, -1000}


def test_one_orbit_ends_inside(tiny: DemoPaths) -> None:
    def empty(safe: Path) -> float:
        with rasterio.open(read_safe_s2(safe).assets["B02"].href) as source:
            return float((source.read(1) == 0).mean())

    for safe in tiny.s2:
        assert (0.02 < empty(safe) < 0.3) == ("_R122_" in safe.name)


def test_radar_products_are_raw(tiny: DemoPaths) -> None:
    for path in tiny.s1:
        product = open_s1_product(path)
        assert (product.meta.mission, product.meta.product_type) == ("S1A", "GRD")
        assert (product.meta.pass_direction, product.meta.relative_orbit) == ("ASCENDING", 44)
        assert product.polarisations == ("VV", "VH")
    assert [path.name[17:25] for path in tiny.s1][:2] == ["20210104", "20210221"]


def test_terrain_covers_the_radar_images(tiny: DemoPaths) -> None:
    west, south, east, north = radar_view(simulate(region("tiny"), 7)).bounds_lonlat
    with rasterio.open(tiny.dem) as source:
        bounds = source.bounds
    assert bounds.left < west - 0.01
    assert bounds.right > east + 0.01
    assert bounds.bottom < south - 0.01
    assert bounds.top > north + 0.01


def test_processed_backscatter_is_that_of_the_ground(tiny: DemoPaths, tmp_path: Path) -> None:
    # Forwards and backwards share no code: bias beyond that of 18,432 pixels of speckle is a fault of one of them.
    simulation = simulate(region("tiny"), 7)
    left, bottom, right, top = simulation.region.bounds_m
    settings = S1Settings(
        dem=str(tiny.dem), dem_height="ellipsoidal", speckle="none", crs="EPSG:32633", area_m=(left, bottom, right, top)
    )
    for safe, day in list(zip(tiny.s1, simulation.radar_days, strict=True))[::3]:
        (tmp_path / str(day)).mkdir()
        preprocess_s1(prepare_s1([open_s1_product(safe)], settings), tmp_path / str(day))
        with rasterio.open(tmp_path / str(day) / "data.tif") as source:
            found = source.read()
        known = simulation.radar(day).gamma0
        assert 10 * np.log10(found.mean(axis=(1, 2)) / known.mean(axis=(1, 2))) == pytest.approx([0, 0], abs=0.05)
        smooth = [ndimage.uniform_filter(band, 5)[8:-8, 8:-8].ravel() for band in (found[0], known[0])]
        assert np.corrcoef(*np.log(smooth))[0, 1] > 0.9


def test_labels_lie_in_the_west_and_agree_with_the_truth(tiny: DemoPaths) -> None:
    labels = geopandas.read_file(tiny.labels)
    left, _, right, _ = 345_600, 0, 347_520, 0
    assert labels.crs.to_epsg() == 32633
    assert labels.total_bounds[0] >= left - 1e-6
    assert labels.total_bounds[2] <= (left + right) / 2 + 1e-6
    assert set(labels["class_code"]) == CODES
    assert set(labels.geom_type) == {"MultiPolygon"}
    with rasterio.open(tiny.truth) as source:
        truth = source.read(1)
        codes = rasterio.features.rasterize(
            zip(labels.geometry, labels["class_code"], strict=True), truth.shape, transform=source.transform
        )
    labelled = codes > 0
    assert 0.35 < labelled[:, :96].mean() < 0.7
    assert (codes == truth)[labelled].mean() > 0.97


def test_truth_holds_every_class_in_both_halves(tiny: DemoPaths) -> None:
    with rasterio.open(tiny.truth) as source:
        truth = source.read(1)
        assert source.nodata == 0
    assert set(np.unique(truth[:, :96])) == CODES
    assert set(np.unique(truth[:, 96:])) == CODES


def test_region_lies_inside_the_data(tiny: DemoPaths) -> None:
    aoi = geopandas.read_file(tiny.region)
    assert aoi.crs.to_epsg() == 4326
    inside = aoi.to_crs(32633).total_bounds
    place = region("tiny").bounds_m
    assert inside[0] > place[0]
    assert inside[1] > place[1]
    assert inside[2] < place[2]
    assert inside[3] < place[3]
    assert aoi.to_crs(32633).geometry.is_valid.all()


def test_dem_covers_the_region(tiny: DemoPaths) -> None:
    with rasterio.open(tiny.dem) as source:
        assert source.crs.to_epsg() == 4326
        assert source.res == pytest.approx((1 / 3600, 1 / 3600))
        height = source.read(1)
        bounds = source.bounds
    aoi = geopandas.read_file(tiny.region).total_bounds
    assert bounds.left < aoi[0]
    assert bounds.bottom < aoi[1]
    assert bounds.right > aoi[2]
    assert bounds.top > aoi[3]
    assert 250 < height.min() < height.max() < 550


def test_texts_are_valid(tiny: DemoPaths) -> None:
    assert [entry.code for entry in read_legend(tiny.legend).classes] == [entry.code for entry in CLASSES]
    config = load_pipeline(tiny.pipeline)
    assert set(config.sources) == {"s2", "s1", "dem"}
    named = [config.aoi, config.labels.source, config.labels.legend, config.assess.source]
    assert all((tiny.root / str(name)).is_file() for name in named)
    assert "doi:10.1111/gcb.14492" in tiny.readme.read_text()


def test_finished_demo_is_found_again(tiny: DemoPaths) -> None:
    before = {path: path.stat().st_mtime_ns for path in tiny.root.rglob("*")}
    (tiny.root / "work").mkdir(exist_ok=True)
    assert generate(tiny.root, size="tiny") == tiny
    (tiny.root / "work").rmdir()
    assert {
        path: path.stat().st_mtime_ns for path in tiny.root.rglob("*") if path != tiny.root
    }.items() <= before.items()


@pytest.mark.parametrize("arguments", [{"size": "standard"}, {"size": "tiny", "seed": 8}])
def test_another_demo_is_refused(tiny: DemoPaths, arguments: dict) -> None:
    with pytest.raises(InputError, match="size tiny, seed 7") as caught:
        generate(tiny.root, **arguments)
    assert "another folder" in caught.value.remedy


def test_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="holds no demo"):
        generate(tmp_path, size="tiny")
    with pytest.raises(InputError, match="is a file"):
        generate(tmp_path / "thesis.txt", size="tiny")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_incomplete_demo_is_refused(tiny: DemoPaths, tmp_path: Path) -> None:
    shutil.copytree(tiny.root, tmp_path / "demo")
    (tmp_path / "demo" / "labels.gpkg").unlink()
    with pytest.raises(InputError, match=r"labels\.gpkg is missing"):
        generate(tmp_path / "demo", size="tiny")


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown demo size: 'huge'"):
        generate(tmp_path / "demo", size="huge")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="seed is -1"):
        generate(tmp_path / "demo", size="tiny", seed=-1)
    assert not list(tmp_path.iterdir())


def test_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("stop")

    monkeypatch.setattr("landcover_cli.demo.generate._write_radar", fail)
    monkeypatch.setattr("landcover_cli.demo.generate._write_optical", lambda *_: 0.5)
    with pytest.raises(RuntimeError, match="stop"):
        generate(tmp_path / "demo", size="tiny")
    assert not list(tmp_path.iterdir())
