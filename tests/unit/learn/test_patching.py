"""Patches from synthetic cubes: right pixels, right ground, right statistics, and errors with a remedy."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from synthetic_cubes import LEGEND, Ground, make_ground, write_labels

from landcover_cli.config.labels import SplitConfig, TileConfig
from landcover_cli.core.grid import ProductGrid, Tile
from landcover_cli.core.unit import RunContext
from landcover_cli.core.windows import PixelBox
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.io.cubestore import CubeSeries
from landcover_cli.io.patchindex import read_index
from landcover_cli.io.patchstore import PatchStore
from landcover_cli.labels.legend import Legend
from landcover_cli.learn.patching import LabelledRegion, make_patches

CONFIG = TileConfig(patch_px=16, split=SplitConfig(block_px=16))


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return make_ground(tmp_path_factory.mktemp("ground"))


def region(ground: Ground, name: str = "main", *sources: str) -> LabelledRegion:
    return LabelledRegion(name, (ground.labels,), {k: ground.cubes[k] for k in sources or ground.cubes})


def tree(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


def test_every_patch_holds_the_cubes_pixels_of_its_ground(ground: Ground, tmp_path: Path) -> None:
    facts = make_patches([region(ground)], LEGEND, CONFIG, tmp_path, RunContext(), tile_px=64)
    store, index = PatchStore(tmp_path), read_index(tmp_path)
    assert facts["patches"]["train"] + facts["patches"]["validation"] + facts["patches"]["test"] == len(index) == 24
    cube = CubeSeries.open(ground.cubes["s1"])
    for position in (0, 7, 23):
        box = index[position].box
        assert box.row0 % 16 == 0
        assert box.col0 % 16 == 0
        sample, window = store.read(position), cube.read(box.bounds_m(10.0))
        np.testing.assert_array_equal(sample.inputs["s1"].data_tbyx, window.data_tbyx)
        np.testing.assert_array_equal(sample.inputs["s1"].valid_tyx, window.valid_tyx)
        assert sample.inputs["dem"].data_tbyx.shape == (1, 1, 8, 8)
        rows, cols = box.slices_in(ground.box)
        truth = ground.classes_yx[rows, cols]
        labelled = sample.labels_yx != 255
        np.testing.assert_array_equal(sample.labels_yx[labelled], truth[labelled])
        assert index[position].class_px == tuple(np.bincount(truth[labelled], minlength=3))
        left, bottom, right, top = ProductGrid("EPSG:32633", 10.0, 64).tile_bounds_m(Tile.parse(index[position].tile))
        assert left <= box.col0 * 10 < right
        assert bottom < -box.row0 * 10 <= top


def test_statistics_come_from_valid_training_pixels_alone(ground: Ground, tmp_path: Path) -> None:
    make_patches([region(ground)], LEGEND, CONFIG, tmp_path, RunContext())
    found = json.loads((tmp_path / "statistics.json").read_text())
    store, index = PatchStore(tmp_path), read_index(tmp_path)
    for name, to_value in (("s2", lambda v: v * 1e-4 - 0.1), ("s1", lambda v: 10 * np.log10(v))):
        pixels = []
        for position, record in enumerate(index):
            if record.split == "train":
                stored = store.read(position).inputs[name]
                pixels.append(np.moveaxis(stored.data_tbyx, 1, 0)[:, stored.valid_tyx].astype(float))
        values = to_value(np.concatenate(pixels, axis=1))
        np.testing.assert_allclose(found[name]["mean"], values.mean(axis=1), rtol=1e-5)
        np.testing.assert_allclose(found[name]["std"], values.std(axis=1), rtol=1e-5)
        assert found[name]["count"] == values.shape[1]


def test_same_bytes_each_time(ground: Ground, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        make_patches([region(ground)], LEGEND, CONFIG, tmp_path / name, RunContext())
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_two_regions_one_without_an_optional_source(ground: Ground, tmp_path: Path) -> None:
    other = make_ground(tmp_path / "g", PixelBox(-2048, 512, -1952, 608), seed=1)
    regions = [region(ground, "a"), region(other, "b", "s2", "dem")]
    with pytest.raises(InputError, match="region 'b' has no cube of source 's1'"):
        make_patches(regions, LEGEND, CONFIG, tmp_path, RunContext())
    make_patches(regions, LEGEND, CONFIG, tmp_path, RunContext(), optional=["s1"])
    store, index = PatchStore(tmp_path), read_index(tmp_path)
    last = len(store) - 1
    assert (index[0].region, index[last].region) == ("a", "b")
    assert set(store.read(0).inputs) == {"s1", "s2", "dem"}
    assert set(store.read(last).inputs) == {"s2", "dem"}
    port = next(port for port in store.ports if port.name == "s1")
    assert port.optional
    assert set(port.periods) == {"a"}


def test_what_was_never_observed_is_no_label(ground: Ground, tmp_path: Path) -> None:
    """Labels reach beyond the cube; the ground outside teaches nothing."""
    wide = PixelBox(ground.box.row0, ground.box.col0 - 24, ground.box.row1, ground.box.col1)
    labels = np.zeros((wide.height, wide.width), np.uint8)
    labels[:, 24:] = ground.classes_yx
    path = write_labels(tmp_path / "labels.tif", labels, wide)
    (tmp_path / "out").mkdir()
    make_patches(
        [LabelledRegion("main", (path,), ground.cubes)],
        LEGEND,
        CONFIG.model_copy(update={"patch_px": 16, "stride_px": 16}),
        tmp_path / "out",
        RunContext(),
    )
    facts = json.loads((tmp_path / "out" / "classes.json").read_text())
    assert facts["unobserved_px"] == pytest.approx(24 * wide.height, abs=5)  # and pixels that no date saw
    assert sum(sum(c["px"].values()) for c in facts["classes"]) == wide.height * wide.width - facts["unobserved_px"]


def refused(error: type[Exception], match: str, *args: object, **kwargs: object) -> None:
    with pytest.raises(error, match=match):
        make_patches(*args, RunContext(), **kwargs)  # type: ignore[arg-type]


def test_bad_input_is_named(ground: Ground, tmp_path: Path) -> None:
    one = [region(ground)]
    refused(ConfigError, "17 px of 10 m are 8.5 px of source 'dem'", one, LEGEND, TileConfig(patch_px=17), tmp_path)
    greedy = CONFIG.model_copy(update={"min_labelled": 1.1})
    refused(InputError, "the fullest has 100 %", one, LEGEND, greedy, tmp_path)
    short = Legend("short", "1", LEGEND.classes[:2])
    refused(InputError, "class index 2; the legend has 2 classes", one, short, CONFIG, tmp_path)
    far = make_ground(tmp_path / "far", PixelBox(0, 0, 96, 96))
    apart = [LabelledRegion("main", (far.labels,), ground.cubes)]
    refused(InputError, "labels and cubes do not meet", apart, LEGEND, CONFIG, tmp_path / "far")
    lone = np.zeros((96, 96), np.uint8)
    other = write_labels(tmp_path / "other.tif", lone, ground.box, crs="EPSG:32632")
    abroad = [LabelledRegion("main", (other,), ground.cubes)]
    refused(InputError, "the labels are in EPSG:32632", abroad, LEGEND, CONFIG, tmp_path)
    refused(InputError, "nothing to learn from", [LabelledRegion("m", (ground.labels,), {})], LEGEND, CONFIG, tmp_path)


def test_a_class_that_only_the_test_ground_has_is_named(ground: Ground, tmp_path: Path) -> None:
    labels = np.zeros((96, 96), np.uint8)
    labels[-16:] = 1  # the southern rim, which `halves` leaves to the test
    path = write_labels(tmp_path / "labels.tif", labels, ground.box)
    config = TileConfig(patch_px=16, split=SplitConfig(method="halves", block_px=16))
    refused(
        InputError, r"class 11 \(class 1\) has no training sample", [LabelledRegion("m", (path,), ground.cubes)],
        LEGEND, config, tmp_path,
    )  # fmt: skip


def test_weights_beside_the_labels_reach_the_loss(tmp_path: Path) -> None:
    import rasterio

    from landcover_cli.config.learning import TrainConfig
    from landcover_cli.io.labellayers import weights_path
    from landcover_cli.learn.samples import PatchSamples
    from landcover_cli.learn.setup import describe_model

    ground = make_ground(tmp_path / "ground")
    with rasterio.open(ground.labels) as file:
        profile, labels = file.profile | {"dtype": "float32", "nodata": np.nan}, file.read(1)
    weights = np.where(labels == 255, np.nan, np.linspace(0, 2, labels.size).reshape(labels.shape)).astype("float32")
    with rasterio.open(weights_path(ground.labels), "w", **profile) as sink:
        sink.write(weights, 1)
    config = TileConfig(patch_px=16, split=SplitConfig(block_px=16))
    make_patches([LabelledRegion("a", (ground.labels,), ground.cubes)], LEGEND, config, tmp_path, RunContext())
    store, index = PatchStore(tmp_path), read_index(tmp_path)
    ports = describe_model(tmp_path, TrainConfig()).ports
    batch = PatchSamples(tmp_path, ports, 10**8).batch([0, 1])
    assert batch.weight is not None
    for position in (0, 1):
        rows, cols = index[position].box.slices_in(ground.box)
        expected = np.where(np.isfinite(weights[rows, cols]), weights[rows, cols], 1)
        np.testing.assert_array_equal(store.read(position).weights_yx, expected)
        np.testing.assert_array_equal(batch.weight[position], expected)


def test_zones_of_a_file_go_to_one_split_each(tmp_path: Path) -> None:
    import itertools

    import geopandas
    import shapely

    from landcover_cli.errors import ConfigError

    ground = make_ground(tmp_path / "ground")
    left, bottom, right, top = ground.box.bounds_m(10.0)
    edges = np.linspace(left, right, 7)[:5]
    strips = [shapely.box(a, bottom, b, top) for a, b in itertools.pairwise(edges)]
    names = ["train", "train", "validation", "test"]
    frame = geopandas.GeoDataFrame({"part": names}, geometry=strips, crs=32633)
    frame.to_crs(4326).to_file(tmp_path / "zones.gpkg")
    region = LabelledRegion("a", (ground.labels,), ground.cubes)
    split = SplitConfig(method="attribute", attribute="part")
    config = TileConfig(patch_px=8, split=split)
    make_patches([region], LEGEND, config, tmp_path, RunContext(), zones=tmp_path / "zones.gpkg")
    found = read_index(tmp_path)
    for record in found:
        middle = (record.box.bounds_m(10.0)[0] + record.box.bounds_m(10.0)[2]) / 2
        assert record.split == names[int(np.searchsorted(edges, middle)) - 1]
    whole = len(found)
    for folder, buffer_px in (("b", 8), ("c", 4)):
        (tmp_path / folder).mkdir()
        near = TileConfig(patch_px=8, split=split.model_copy(update={"buffer_px": buffer_px}))
        make_patches([region], LEGEND, near, tmp_path / folder, RunContext(), zones=tmp_path / "zones.gpkg")
        assert len(read_index(tmp_path / folder)) < whole
    for bad, zones, match in (
        (split.model_copy(update={"attribute": None}), tmp_path / "zones.gpkg", "attribute is missing"),
        (split, None, "of which file"),
    ):
        with pytest.raises(ConfigError, match=match):
            make_patches([region], LEGEND, TileConfig(patch_px=8, split=bad), tmp_path / "x", RunContext(), zones=zones)


def test_sizes_in_metres_are_those_in_pixels(tmp_path: Path) -> None:
    from landcover_cli.errors import ConfigError

    metres = TileConfig(patch_m=160, overlap_m=80, split=SplitConfig(block_m=320, buffer_m=20))
    pixels = TileConfig(patch_px=16, stride_px=8, split=SplitConfig(block_px=32, buffer_px=2))
    assert metres.in_pixels(10.0) == pixels.in_pixels(10.0)
    assert pixels.in_pixels(10.0) == pixels
    ground = make_ground(tmp_path / "ground")
    make_patches([LabelledRegion("a", (ground.labels,), ground.cubes)], LEGEND, metres, tmp_path, RunContext())
    found = read_index(tmp_path)
    assert {(record.box.height, record.box.row0 % 8) for record in found} == {(16, 0)}
    for changes, match in (
        ({"patch_m": 165}, r"tile\.patch_m: 165 m are 16\.5 px of 10 m"),
        ({"patch_m": 30}, "30 m are 3 px"),
        ({"overlap_m": 160}, "leave no step"),
        ({"split": SplitConfig(block_m=15)}, r"tile\.split\.block_m: 15 m"),
    ):
        with pytest.raises(ConfigError, match=match):
            metres.model_copy(update=changes).in_pixels(10.0)


def test_a_patch_around_every_labelled_pixel(tmp_path: Path) -> None:
    ground = make_ground(tmp_path / "ground")
    rng = np.random.default_rng(3)
    labels = np.full((ground.box.height, ground.box.width), 255, np.uint8)
    for place in rng.permutation(labels.size)[:80]:
        labels.flat[place] = ground.classes_yx.flat[place]
    path = write_labels(tmp_path / "points.tif", labels, ground.box)
    region = LabelledRegion("a", (path,), ground.cubes)
    config = TileConfig(patch_px=16, layout="centre", split=SplitConfig(block_px=24))
    make_patches([region], LEGEND, config, tmp_path, RunContext())
    store, index = PatchStore(tmp_path), read_index(tmp_path)
    seen = set()
    for position, record in enumerate(index):
        patch = store.read(position)
        (place,) = np.argwhere(patch.labels_yx != 255).tolist() or [None]
        if place is None:
            continue  # its pixel was never observed
        # Pixel 8 is the centre; heights of 20 m move it by one at most.
        assert {place[0], place[1]} <= {8, 9}
        row, col = record.box.row0 + place[0] - ground.box.row0, record.box.col0 + place[1] - ground.box.col0
        assert patch.labels_yx[tuple(place)] == labels[row, col]
        seen.add((row, col))
    # Nothing twice; what is missing reaches into another split's block.
    assert len(seen) >= len(index) - 2
    assert len(index) + json.loads((tmp_path / "splits.json").read_text())["left_out"] == 80


def test_balance_and_preview(tmp_path: Path) -> None:
    from landcover_cli.learn.preview import chosen_samples, picture_of

    ground = make_ground(tmp_path / "ground")
    config = TileConfig(patch_px=16, split=SplitConfig(block_px=16), preview=7)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        make_patches(
            [LabelledRegion("r", (ground.labels,), ground.cubes)], LEGEND, config, tmp_path / name, RunContext()
        )
    sheets = [(tmp_path / name / "preview.png").read_bytes() for name in ("a", "b")]
    assert sheets[0] == sheets[1]
    assert sheets[0].startswith(b"\x89PNG")
    records = read_index(tmp_path / "a")
    rows = [line.split(",") for line in (tmp_path / "a" / "balance.csv").read_text().splitlines()]
    assert rows[0][:5] == ["code", "name", "train_px", "train_share", "train_patches"]
    train = np.array([record.class_px for record in records if record.split == "train"])
    for index, row in enumerate(rows[1:]):
        assert int(row[2]) == train[:, index].sum()
        assert float(row[3]) == pytest.approx(train[:, index].sum() / train.sum(), abs=1e-4)
        assert int(row[4]) == (train[:, index] > 0).sum()
    chosen = chosen_samples(records, 7)
    assert len(set(chosen)) == 7
    assert {records[i].split for i in chosen} == {"train", "validation", "test"}
    store = PatchStore(tmp_path / "a")
    picture, title = picture_of(store.read(0), store.ports)
    stored = store.read(0).inputs["s2"]
    date = int(np.argmax(stored.valid_tyx.sum((1, 2))))
    assert title == f"s2 {stored.periods[date].label}"
    assert (picture[~stored.valid_tyx[date]] == 0.35).all()
    assert picture.min() >= 0
    assert picture.max() <= 1
