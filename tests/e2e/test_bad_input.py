"""Bad input on purpose: a pipeline run says what is wrong, with what value and what mends it, and leaves nothing half.

The tiny demo is spoiled in one place at a time; the exit code is 2 (how it was asked) or 3 (what it was given).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rasterio
import shapely
import shapely.geometry
from refusals import Lc, Project, linked, nothing_appears, nothing_half_done

from landcover_cli.io.vector import read_aoi, reproject


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Lc:
    return Lc(capfd, monkeypatch)


@pytest.fixture
def project(region: Path, tmp_path: Path) -> Project:
    return Project(linked(region, tmp_path / "region"))


def geojson(*geometries: shapely.Geometry, crs: str | None = None) -> str:
    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(g)} for g in geometries]
    document: dict[str, Any] = {"type": "FeatureCollection", "features": features}
    if crs:
        document["crs"] = {"type": "name", "properties": {"name": crs}}
    return json.dumps(document)


# --- the area -----------------------------------------------------------------------------------------------------


BOW_TIE = shapely.Polygon([(12.5, 49.1), (12.6, 49.2), (12.6, 49.1), (12.5, 49.2)])
METRES = shapely.box(301440, 5500000, 302400, 5500960)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(geojson(), ("is empty", "draw at least one polygon"), id="no feature"),
        pytest.param(geojson(shapely.Polygon()), ("is empty",), id="empty polygon"),
        pytest.param(geojson(BOW_TIE), ("crosses itself at (12.55, 49.15)", "Fix geometries"), id="bow tie"),
        pytest.param(geojson(METRES), ("302400", "EPSG"), id="metres undeclared"),
        pytest.param(geojson(shapely.box(2, 48, 2.1, 48.1)), ("no observation over", "source 's1'"), id="elsewhere"),
        pytest.param(geojson(shapely.box(179.9, 49, 180.1, 49.1)), ("crosses the antimeridian", "180.1"), id="beyond"),
        pytest.param(geojson(shapely.box(-179.9, 49, 179.9, 49.1)), ("antimeridian", "cut it at 180°"), id="wrapped"),
        pytest.param(geojson(shapely.Point(12.5, 49.1)), ("Point", "polygons only"), id="point"),
        pytest.param('{"type": "FeatureCollection", "features": [', ("is not valid GeoJSON",), id="cut off"),
        pytest.param("", ("is not valid GeoJSON",), id="empty file"),
    ],
)
def test_an_area_that_is_none(run: Lc, project: Project, text: str, says: tuple[str, ...]) -> None:
    path = project.replace("region.geojson", text)
    with nothing_appears(project.folder):
        run.refuses("run", project.pipeline, code=3, says=(path, *says))


def test_an_area_that_is_not_there(run: Lc, project: Project) -> None:
    (project.folder / "region.geojson").unlink()
    with nothing_appears(project.folder):
        run.refuses("run", project.pipeline, code=3, says=("AOI", project.folder / "region.geojson", "check the path"))
    (project.folder / "region.geojson").mkdir()
    with nothing_appears(project.folder):
        run.refuses("run", project.pipeline, code=3, says=("AOI", project.folder / "region.geojson"))


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:3857", "EPSG:3035"])
def test_an_area_in_another_crs_is_the_same_area_where_it_says_so(run: Lc, project: Project, crs: str) -> None:
    own = read_aoi(project.folder / "region.geojson")
    before = run("run", project.pipeline, "--dry-run", "--json")
    project.replace("region.geojson", geojson(reproject(own.geometry, own.crs, crs, "AOI"), crs=crs))
    after = run("run", project.pipeline, "--dry-run", "--json")
    assert after.code == 0, after.err
    names = [[unit["unit"] for unit in json.loads(said.out)["units"]] for said in (before, after)]
    assert names[0] == names[1]


# --- Sentinel-2 products ------------------------------------------------------------------------------------------


def test_a_scene_that_lacks_a_band(run: Lc, project: Project) -> None:
    project.only("s2")
    project.band("B11").unlink()
    with nothing_appears(project.folder):
        run.refuses("-q", "run", project.pipeline, code=3, says=(project.scene(), "band B11 is missing", "B12"))


@pytest.mark.parametrize("keep", [0.5, -10, 0.0])
@pytest.mark.parametrize("band", ["B04", "SCL"])
def test_a_band_that_is_cut_off(run: Lc, project: Project, band: str, keep: float | int) -> None:
    project.only("s2")
    path = project.cut(project.band(band), keep)
    unit = f"preprocess_s2/main/s2/{project.scene().stem}"
    with nothing_half_done(project.work, unit):
        run.refuses("-q", "run", project.pipeline, code=3, says=(path, "is cut off after", "download the file again"))


def test_a_band_that_is_a_folder_or_something_else(run: Lc, project: Project) -> None:
    project.only("s2")
    path = project.band("B03")
    path.unlink()
    path.write_text("404 Not Found")
    run.refuses("-q", "run", project.pipeline, code=3, says=(path, "cannot be opened"))
    path.unlink()
    path.mkdir()
    run.refuses("-q", "run", project.pipeline, code=3, says=(project.scene().stem, "B03"))


def test_a_product_without_imagery(run: Lc, project: Project) -> None:
    for path in project.scene().rglob("*.jp2"):
        path.unlink()
    with nothing_appears(project.folder):
        run.refuses("run", project.pipeline, code=3, says=(project.scene(), "without imagery", "download the product"))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda blob: blob[: len(blob) // 2], "MTD_MSIL2A.xml"),
        (lambda blob: blob.replace(b"Level-2A", b"Level-1C"), "Level-1C"),
        (lambda blob: b"", "MTD_MSIL2A.xml"),
    ],
)
def test_metadata_that_is_damaged(run: Lc, project: Project, spoil: Callable[[bytes], bytes], says: str) -> None:
    path = project.scene() / "MTD_MSIL2A.xml"
    project.replace(path, spoil(path.read_bytes()))
    with nothing_appears(project.folder):
        run.refuses("run", project.pipeline, code=3, says=(project.scene().name, says))


def test_a_zip_that_is_none_or_cut_off(run: Lc, project: Project) -> None:
    scene = project.scene()
    archive = Path(shutil.make_archive(str(project.folder / "s2" / "scene"), "zip", scene.parent, scene.name))
    shutil.rmtree(scene)
    project.edit(lambda doc: doc["sources"]["s2"].update(scenes=["s2/*.zip"]))
    project.cut(archive, 0.5)
    with nothing_appears(project.folder):
        run.refuses("run", project.pipeline, code=3, says=(archive, "zip"))


# --- Sentinel-1 products ------------------------------------------------------------------------------------------


def test_a_radar_product_that_lacks_a_table(run: Lc, project: Project) -> None:
    project.only("s1")
    path = next(project.radar().rglob("noise-*-vh-*.xml"))
    path.unlink()
    with nothing_half_done(project.work, f"preprocess_s1/main/s1/{project.radar().stem}"):
        run.refuses("-q", "run", project.pipeline, code=3, says=(project.radar().stem, path.name, "is missing"))


@pytest.mark.parametrize("keep", [0.5, 0.0])
def test_a_measurement_that_is_cut_off(run: Lc, project: Project, keep: float) -> None:
    project.only("s1")
    path = project.cut(next(project.radar().glob("measurement/*-vv-*.tiff")), keep)
    with nothing_half_done(project.work, f"preprocess_s1/main/s1/{project.radar().stem}"):
        run.refuses("-q", "run", project.pipeline, code=3, says=(path.name, "download"))


def test_terrain_that_ends_within_the_image(run: Lc, project: Project) -> None:
    project.only("s1")
    path = project.folder / "dem" / "dem.tif"
    with rasterio.open(path) as source:
        heights, profile = source.read(), source.profile
    path.unlink()
    with rasterio.open(path, "w", **{**profile, "width": heights.shape[2] // 2}) as target:
        target.write(heights[:, :, : heights.shape[2] // 2])
    with nothing_half_done(project.work, "preprocess_s1"):
        run.refuses("-q", "run", project.pipeline, code=3, says=("dem.tif does not cover", "% of", "lc fetch dem"))


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"scenes": ["s1/*.SAVE"]}, 3, ("s1/*.SAVE", "optional: true")),
        ({"speckle": "refind_lee"}, 2, ("'refind_lee'", "did you mean refined_lee")),
        ({"speckle_options": {"window": 7}}, 2, ("window",)),
        ({"polarisations": ["HH"]}, 3, ("no polarisation HH", "VV, VH")),
        ({"orbit": "descending"}, 3, ("'s1'", "8 products known")),
        ({"dem": "dem/dem.img"}, 3, ("dem.img", "does not exist")),
        ({"dem": None}, 2, ("sources.s1.dem",)),
        ({"dem_height": "auto"}, 3, ("dem.tif", "--dem-height")),
        ({"backscatter": "gama0"}, 2, ("sources.s1.backscatter", "'gama0'")),
    ],
)
def test_a_radar_source_that_is_described_wrongly(
    run: Lc, project: Project, change: dict[str, Any], code: int, says: tuple[str, ...]
) -> None:
    project.edit(lambda doc: doc["sources"]["s1"].update(change))
    with nothing_appears(project.folder):
        run.refuses("run", project.pipeline, code=code, says=says)


# --- stacks and static layers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("directory", ["last", "first"])
def test_a_backscatter_file_cut_in_half(run: Lc, project: Project, directory: str) -> None:
    path = project.ready_backscatter()
    project.only("s1")
    if directory == "first":  # as in a COG: what is lost shows only where the pixels are read
        with rasterio.open(path) as source:
            tags, profile, names = source.tags(), source.profile, source.descriptions
            values = source.read()
        path.unlink()
        with rasterio.open(path, "w", **profile, SPARSE_OK=False) as target:
            target.update_tags(**tags)
            target.descriptions = names
        with rasterio.open(path, "r+") as target:
            target.write(values)
    project.cut(path, 0.5)
    with nothing_half_done(project.work):
        run.refuses("-q", "run", project.pipeline, "--workers", "1", code=3, says=(path, "download"))


def test_a_terrain_file_cut_in_half(run: Lc, project: Project) -> None:
    project.only("s2", "dem")
    path = project.cut(project.folder / "dem" / "dem.tif", 0.5)
    with nothing_half_done(project.work, "composite/main/dem"):
        run.refuses("-q", "run", project.pipeline, code=3, says=(path, "download the file again"))


def test_a_folder_in_place_of_a_raster(run: Lc, project: Project) -> None:
    project.only("dem")
    path = project.folder / "dem" / "dem.tif"
    path.unlink()
    path.mkdir()
    with nothing_appears(project.folder):
        run.refuses("-q", "run", project.pipeline, code=3, says=(path,))
    path = project.ready_backscatter()
    path.unlink()
    path.mkdir()
    project.only("s1")
    with nothing_appears(project.folder):
        run.refuses("-q", "run", project.pipeline, code=3, says=(path,))


@pytest.mark.parametrize(
    ("source", "change", "code", "says"),
    [
        ("s2", {"bands": ["B02", "B99"]}, 2, ("B99", "B02", "B12")),
        ("s1", {"bands": ["VV", "VX"]}, 2, ("'VX'", "VV", "VH")),
        ("s1", {"bands": ["VV", "HH"]}, 3, ("band HH is missing", "VH, VV")),
        ("s2", {"scenes": ["s2/*.SAVE"]}, 3, ("s2/*.SAVE", "optional: true")),
        ("s1", {"files": ["ready/*.nc"]}, 3, ("ready/*.nc", "optional: true")),
        ("dem", {"files": ["dem/*.img"]}, 3, ("dem/*.img", "optional: true")),
        ("dem", {"bands": ["elevation", "slope"], "derive": []}, 3, ("dem.tif", "2", "1")),
        ("s2", {"mask": "slc"}, 2, ("'slc'", "did you mean scl?")),
        ("s2", {"composite": "maen"}, 2, ("'maen'", "did you mean mean")),
        ("s1", {"composite": "median_of_means"}, 2, ("'median_of_means'", "available: best_pixel, ")),
        ("s1", {"sensor": "sentinel_1"}, 2, ("'sentinel_1'", "did you mean sentinel1")),
        ("s2", {"mask_options": {"dilation": 3}}, 2, ("dilation",)),
        ("s2", {"resolution_m": 7}, 2, ("sources.s2.resolution_m", "7 m", "960 m")),
        ("s2", {"offset": "maybe"}, 2, ("sources.s2.offset", "'maybe'")),
        ("s1", {"date_pattern": "(?P<year>..."}, 2, ("sources.s1.date_pattern", "not a regular expression")),
        ("s1", {"file_bands": ["VV"]}, 3, ("2 bands", "`file_bands` names 1")),
    ],
)
def test_a_source_that_is_described_wrongly(
    run: Lc, project: Project, source: str, change: dict[str, Any], code: int, says: tuple[str, ...]
) -> None:
    if source == "s1":
        project.ready_backscatter()
    project.edit(lambda doc: doc["sources"][source].update(change))
    with nothing_appears(project.folder):
        run.refuses("run", project.pipeline, code=code, says=says)


# --- the pipeline file --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "wrong", "right"),
    [
        ("", "sorces", "sources"),
        ("grid", "resolution", "resolution_m"),
        ("period", "stop", None),
        ("sources.s2", "mask_option", "mask_options"),
        ("sources.s1", "speckel", "speckle"),
        ("sources.dem", "derived", "derive"),
        ("tile.split", "ration", "ratios"),
        ("train", "epoch", "epochs"),
        ("runtime", "worker", "workers"),
    ],
)
def test_an_unknown_key(run: Lc, project: Project, path: str, wrong: str, right: str | None) -> None:
    def change(document: dict[str, Any]) -> None:
        for part in filter(None, path.split(".")):
            document = document.setdefault(part, {})
        document[wrong] = 1

    project.edit(change)
    where = f"{path}.{wrong}" if path else wrong
    hint = f"did you mean `{right}`?" if right else f"unknown key `{where}`"
    with nothing_appears(project.folder):
        run.refuses("run", project.pipeline, code=2, says=(project.pipeline, f"unknown key `{where}`", hint))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"period": {"start": "2021-12", "end": "2021-01"}}, ("2021-12", "2021-01")),
        ({"period": {"start": "2021-13", "end": "2021-12"}}, ("'2021-13'", "write 2021-03")),
        ({"period": {"start": "2021-01", "end": "2021-12", "step": "fortnight"}}, ("'fortnight'", "month")),
        ({"period": {"start": "2021-01", "end": "2021-12", "step": "0d"}}, ("'0d'",)),
        ({"period": None}, ("`period` is missing",)),
        ({"grid": {"crs": "EPSG:4326"}}, ("grid.crs 'EPSG:4326'", "metres")),
        ({"grid": {"crs": "EPSG:99999"}}, ("grid.crs 'EPSG:99999'", "EPSG:32633")),
        ({"grid": {"crs": "EPSG:32633", "resolution_m": -10}}, ("grid.resolution_m", "-10")),
        ({"regions": {"a": {"aoi": "region.geojson"}}}, ("`aoi`", "`regions`")),
        ({"sources": {}}, ("sources",)),
        ({"version": 2}, ("version", "2")),
        ({"runtime": {"executor": "thread"}}, ("runtime.executor", "'thread'", "threads")),
        ({"runtime": {"memory": "much"}}, ("runtime.memory", "'much'", "4GB")),
        ({"runtime": {"workers": 0}}, ("runtime.workers", "0")),
        ({"train": {"model": "fusion_utea"}}, ("'fusion_utea'", "did you mean fusion_utae")),
        ({"train": {"model": "fusion_utae", "options": {"widht": 3}}}, ("'widht'", "width")),
        ({"train": {"objective": "crossentropy"}}, ("'crossentropy'", "did you mean cross_entropy")),
        ({"train": {"inputs": ["s3"]}}, ("'s3'", "s2")),
        ({"predict": {"blend": "gauss"}}, ("predict.blend", "'gauss'", "hann")),
        ({"tile": {"split": {"ratios": [0, 1, 1]}}}, ("tile.split.ratios", "above 0")),
        ({"aoi": "{place}.geojson"}, ("{place}", "vars")),
    ],
)
def test_a_value_that_makes_no_sense(run: Lc, project: Project, change: dict[str, Any], says: tuple[str, ...]) -> None:
    project.edit(lambda doc: doc.update(change))
    with nothing_appears(project.folder):
        run.refuses("run", project.pipeline, code=2, says=says)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"workspace: w\xf6rk\n", "is not UTF-8 text"),
        (b"sources: [", "is not valid YAML"),
        (b"", "holds no mapping"),
        (b"- a\n- b\n", "holds no mapping"),
        (b"aoi: a\naoi: b\n", "duplicate key 'aoi'"),
        (b"aoi: !!python/object/apply:os.system [ls]\n", "is not valid YAML"),
        (b"\x00\x01\x02", "is not valid YAML"),
        (b"? {a: b}\n: c\n", "is not valid YAML"),
        (b"1: 2\n", "1"),
    ],
)
def test_a_pipeline_file_that_is_none(run: Lc, tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_bytes(content)
    for verb in (["run"], ["status"], ["config", "check"], ["config", "show"], ["clean"]):
        with nothing_appears(tmp_path):
            run.refuses(*verb, path, code=2, says=(path, says))


def test_a_pipeline_file_that_is_not_there(run: Lc, tmp_path: Path) -> None:
    with nothing_appears(tmp_path):
        run.refuses("run", tmp_path / "pipeline.yml", code=2, says=(tmp_path / "pipeline.yml", "check the path"))
        run.refuses("run", tmp_path, code=2, says=(tmp_path, "directory"))


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("train.epochs", ("'train.epochs'", "KEY=VALUE")),
        ("=3", ("'=3'", "KEY=VALUE")),
        ("train.epoch=3", ("train.epoch", "did you mean `epochs`?")),
        ("train.epochs=three", ("train.epochs", "'three'")),
        ("train.epochs=[1", ("train.epochs", "'[1'")),
        ("train.epochs.much=3", ("train.epochs",)),
        ("train..epochs=3", ("train.",)),
        ("sources.s9.mask=scl", ("sources.s9", "type")),
        ("sources=5", ("sources", "5")),
        ("aoi=", ("aoi",)),
    ],
)
def test_overrides_that_make_no_sense(run: Lc, project: Project, setting: str, says: tuple[str, ...]) -> None:
    with nothing_appears(project.folder):
        run.refuses("run", project.pipeline, "--set", setting, code=2, says=says)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--until", "composit"], ("'composit'", "composite")),
        (["--executor", "proceses"], ("'proceses'", "processes")),
        (["--memory", "lots"], ("'lots'", "4GB")),
        (["--on-error", "ignore"], ("'ignore'", "continue")),
    ],
)
def test_options_that_make_no_sense(run: Lc, project: Project, options: list[str], says: tuple[str, ...]) -> None:
    with nothing_appears(project.folder):
        run.refuses("run", project.pipeline, *options, code=2, says=says)


def test_a_period_without_any_scene(run: Lc, project: Project) -> None:
    project.edit(lambda doc: doc.update(period={"start": "2019-01", "end": "2019-03"}))
    with nothing_appears(project.folder):
        run.refuses("run", project.pipeline, code=3, says=("'s1'", "2019-01-01 to 2019-03-31", "8 products known"))
    project.edit(lambda doc: doc["sources"]["s1"].update(optional=True))
    with nothing_appears(project.folder):
        run.refuses("run", project.pipeline, code=3, says=("'s2'", "14 scenes known"))
