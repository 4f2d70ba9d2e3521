"""Bad input on purpose, verb by verb: labels, models, cubes, targets that cannot be written, and a full disk."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rasterio
from refusals import Lc, Project, Said, check_refusal, linked, nothing_appears, nothing_half_done

from .conftest import LC

INSIDE = (345600, 5378880, 346000, 5379300)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Lc:
    return Lc(capfd, monkeypatch)


@pytest.fixture
def project(region: Path, tmp_path: Path) -> Project:
    return Project(linked(region, tmp_path / "region"))


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a file in the way and an empty folder; every command writes there."""
    folder = tmp_path / "here"
    (folder / "empty").mkdir(parents=True)
    (folder / "file").write_text("neither raster nor vector nor JSON")
    return folder


def square(value: Any, bounds: tuple[float, ...] = INSIDE, attribute: str = "class_code") -> str:
    left, bottom, right, top = bounds
    ring = [[left, bottom], [right, bottom], [right, top], [left, top], [left, bottom]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "properties": {attribute: value}, "geometry": geometry}
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    return json.dumps({"type": "FeatureCollection", "features": [feature], "crs": crs})


# --- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (square(99), ("label value 99 not in legend", "10, 20, 30")),
        (square("Winter corp"), ("'Winter corp' not in legend",)),
        (square(10.5), ("10.5", "not in legend")),
        (square(10, attribute="klass"), ("no attribute 'class_code'", "'klass'")),
        (square(10, (0, 0, 100, 100)), ("no label pixel", "x 0.0 … 100.0", "CRS")),
        (square(None), ("no label pixel",)),
        ('{"type": "FeatureCollection", "features": []}', ("the file holds none",)),
        ('{"type": "FeatureCollection", "fea', ("is not valid GeoJSON",)),
    ],
)
def test_labels_that_do_not_fit(run: Lc, region: Path, here: Path, text: str, says: tuple[str, ...]) -> None:
    path = here / "labels.geojson"
    path.write_text(text)
    grid = ["--like", region / "reference.tif", "--attribute", "class_code", "--legend", region / "legend.yaml"]
    with nothing_appears(here):
        run.refuses("labels", path, *grid, "--out", here / "labels.tif", code=3, says=(path, *says))


@pytest.mark.parametrize(("until", "value", "says"), [("labels", 99, "label value 99"), ("patches", None, "no patch")])
def test_labels_that_do_not_fit_in_a_run(
    run: Lc, mapped: Path, here: Path, tmp_path: Path, until: str, value: Any, says: str
) -> None:
    path = here / "labels.geojson"
    path.write_text(square(value))
    copied = Project(linked(mapped, tmp_path / "mapped"))
    shutil.rmtree(copied.work / "products")
    copied.edit(lambda doc: doc["labels"].update(source=str(path)))
    with nothing_half_done(copied.work):
        run.refuses("-q", "run", copied.pipeline, "--until", until, code=3, says=(says,))


def test_label_files_that_are_none(run: Lc, region: Path, here: Path) -> None:
    blob = (region / "labels.gpkg").read_bytes()
    (here / "half.gpkg").write_bytes(blob[: len(blob) // 2])
    raster = (region / "truth.tif").read_bytes()
    for name, keep in (("half.tif", len(raster) // 2), ("ten.tif", -10)):
        (here / name).write_bytes(raster[:keep])
    grid = ["--like", region / "reference.tif", "--legend", region / "legend.yaml", "--out", here / "o.tif"]
    for name in ("none.gpkg", "file", "empty", "half.gpkg", "half.tif", "ten.tif"):
        with nothing_appears(here):
            run.refuses("labels", here / name, *grid, code=3, says=(here / name,))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "check the path"),
        (b"classes: []", "has no class"),
        (b"id: \xf6", "not UTF-8"),
        (b"a: [", "not valid YAML"),
        (b"classes: [{code: 10, name: a, color: '#123456'}, {code: 10, name: b, color: '#123456'}]", "code 10"),
        (b"classes: [{code: 10, name: a, color: yellow}]", "'yellow' is no colour"),
    ],
)
def test_legends_that_are_none(run: Lc, region: Path, here: Path, content: bytes | None, says: str) -> None:
    path = here / "legend.yaml"
    if content is not None:
        path.write_bytes(content)
    with nothing_appears(here):
        grid = ["--like", region / "reference.tif", "--legend", path, "--out", here / "labels.tif"]
        run.refuses("labels", region / "labels.gpkg", *grid, code=3, says=(says,))


# --- verbs alone ---------------------------------------------------------------------------------------------------


def test_verbs_without_what_they_need(run: Lc, region: Path, mapped: Path, here: Path) -> None:
    scene = sorted(region.glob("s2/*.SAFE"))[0]
    labels = next((mapped / "work" / "results" / "labels").rglob("labels.tif"))
    cube = f"s2={next((mapped / 'work' / 'products' / 'cubes' / 'main' / 's2').rglob('cube.zarr'))}"
    class_map = mapped / "work" / "products" / "map" / "main" / "main_class.tif"
    folder = mapped / "work" / "products" / "cubes" / "main"
    cubes = [word for source in ("s2", "s1", "dem") for word in ("--cube", f"{source}={folder / source}")]
    model, out = mapped / "work" / "products" / "model", ["--out", here / "o"]
    months = ["--start", "2021-01", "--end", "2021-02"]
    legend, aoi = region / "legend.yaml", region / "region.geojson"
    for name in ("none", "file", "empty"):
        path = here / name
        cases: list[tuple[list[str | Path], int]] = [
            (["preprocess", "s2", path], 3),
            (["preprocess", "s2", f"{path}.json"], 3),
            (["preprocess", "s2", scene, "--aoi", path], 3),
            (["composite", path, *months], 3),
            (["tile", "--cube", f"s2={path}", "--labels", labels, "--legend", legend], 3),
            (["tile", "--cube", cube, "--labels", path, "--legend", legend], 3),
            (["train", path, "--epochs", "1"], 3),
            (["predict", "--model", path, "--cube", cube, "--aoi", aoi], 3),
            (["predict", "--model", model, "--cube", f"s2={path}", "--aoi", aoi], 2),
            (["predict", "--model", model, *cubes, "--aoi", path], 3),
            (["assess", path, "--reference", region / "reference.tif"], 3),
            (["assess", class_map, "--reference", path], 3),
            (["assess", class_map, "--reference", region / "reference.tif", "--exclude", path], 3),
            (["report", path], 3),
            (["run", path], 2),
        ]
        for command, code in cases:
            with nothing_appears(here):
                run.refuses("-q", *command, *([] if command[0] == "run" else out), code=code, says=(path,))


def test_options_that_make_no_sense(run: Lc, region: Path, mapped: Path, here: Path) -> None:
    scene, aoi = sorted(region.glob("s2/*.SAFE"))[0], region / "region.geojson"
    patches = next((mapped / "work" / "results" / "patches" / "all").iterdir())
    far = here / "far.geojson"
    far.write_text(json.dumps({"type": "Polygon", "coordinates": [[[2, 48], [2.1, 48], [2.1, 48.1], [2, 48]]]}))
    cases: list[tuple[list[str | Path], int, tuple[str, ...]]] = [
        (["preprocess", "s2", scene, "--bands", "B02,B99"], 2, ("'B99'", "B12")),
        (["preprocess", "s2", scene, "--bands", "B02,,B03"], 2, ("no band ''",)),
        (["preprocess", "s2", scene, "--mask", "slc"], 2, ("did you mean scl?",)),
        (["preprocess", "s2", scene, "--aoi", aoi, "--crs", "EPSG:4326"], 2, ("--crs 'EPSG:4326'", "metres")),
        (["preprocess", "s2", scene, "--aoi", aoi, "--crs", "EPSG:nine"], 2, ("--crs 'EPSG:nine'", "EPSG:32633")),
        (["preprocess", "s2", scene, "--aoi", far], 3, ("far.geojson", "lies outside scene", scene.stem)),
        (["preprocess", "s2", "https://127.0.0.1:9/item.json?secret=1"], 3, ("https://127.0.0.1:9/item.json",)),
        (["train", patches, "--model", "fusion_utea"], 2, ("did you mean fusion_utae",)),
        (["train", patches, "--set", "epoch=3"], 2, ("train.epoch", "did you mean `epochs`?")),
        (["train", patches, "--set", "options=[1"], 2, ("train.options", "'[1'")),
        (["train", patches, "--epochs", "1", "--set", "epochs.x=3"], 2, ("train.epochs",)),
        (["train", patches, "--input", "s3"], 2, ("'s3'", "s2")),
        (["train", patches, "--device", "gpu"], 2, ("'gpu'", "cuda:<n>")),
    ]
    for command, code, says in cases:
        with nothing_appears(here):
            said = run.refuses("-q", *command, "--out", here / "o", code=code, says=says)
        assert "secret" not in said.err


def test_a_map_or_a_result_that_is_cut_off(run: Lc, region: Path, mapped: Path, here: Path) -> None:
    products = shutil.copytree(mapped / "work" / "products", here / "products", ignore=shutil.ignore_patterns("cubes"))
    class_map = products / "map" / "main" / "main_class.tif"
    blob = class_map.read_bytes()
    for keep in (len(blob) // 2, -10):
        class_map.write_bytes(blob[:keep])
        with nothing_appears(here):
            assess = ["assess", class_map, "--reference", region / "reference.tif", "--out", here / "a"]
            run.refuses(*assess, code=3, says=(class_map, "cut off"))
            run.refuses("report", products, "--out", here / "r.html", code=3, says=(class_map, "cut off"))
    class_map.write_bytes(blob)
    record = products / "assess" / "main" / "assessment.json"
    record.write_text(record.read_text()[:40])
    with nothing_appears(here):
        run.refuses("report", products, "--out", here / "r.html", code=3, says=(record, "make it again"))


# --- models and cubes ----------------------------------------------------------------------------------------------


@pytest.fixture
def predict(run: Lc, mapped: Path, region: Path, here: Path) -> Callable[..., Said]:
    """Predict with a model and cubes, each the demo's own unless given; it must be refused."""

    def refused(*says: str | Path, code: int = 3, model: Path | None = None, **cubes: Path) -> Said:
        products = mapped / "work" / "products"
        named = {name: products / "cubes" / "main" / name for name in ("s2", "s1", "dem")} | cubes
        options = [word for name, path in named.items() for word in ("--cube", f"{name}={path}")]
        command = ["predict", "--model", model or products / "model", *options, "--aoi", region / "region.geojson"]
        with nothing_appears(here):
            return run.refuses("-q", *command, "--out", here / "map", code=code, says=says)

    return refused


def change_attributes(cubes: Path, **values: Any) -> None:
    for path in cubes.rglob("cube.zarr/zarr.json"):
        document = json.loads(path.read_text())
        assert set(values) <= set(document["attributes"])
        document["attributes"].update(values)
        path.unlink()
        path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("source", "change", "says"),
    [
        ("s2", {"bands": ["B02", "B03"]}, ("'s2': bands", "missing: B04", "the cube has B02, B03")),
        ("s2", {"units": "reflectance"}, ("'s2': units", "reflectance_dn", "reflectance")),
        ("s1", {"units": "gamma0_db"}, ("'s1': units", "gamma0_linear", "gamma0_db")),
        ("s2", {"gsd_m": 20.0}, ("'s2': pixel size", "10 m", "20 m")),
        ("dem", {"crs": "EPSG:32632"}, ("different CRS", "EPSG:32632", "EPSG:32633")),
        ("s2", {"bounds_m": "x"}, ("attributes are damaged",)),
    ],
)
def test_cubes_that_do_not_match_the_model(
    predict: Callable[..., Said], mapped: Path, here: Path, source: str, change: dict[str, Any], says: tuple[str, ...]
) -> None:
    cubes = linked(mapped / "work" / "products" / "cubes" / "main" / source, here / source)
    change_attributes(cubes, **change)
    predict(*says, **{source: cubes})


# A chunk of `valid` that is gone reads as one that was never written: nobody saw that ground.
@pytest.mark.parametrize(
    ("array", "damage"),
    [("data", how) for how in ("half", "garbage", "empty", "gone", "folder")]
    + [("valid", how) for how in ("half", "garbage", "empty")],
)
def test_a_chunk_that_is_damaged(
    predict: Callable[..., Said], mapped: Path, here: Path, array: str, damage: str
) -> None:
    cubes = linked(mapped / "work" / "products" / "cubes" / "main" / "s2", here / "s2")
    for chunk in [path for path in cubes.rglob(f"cube.zarr/{array}/c/**/*") if path.is_file()]:
        blob = chunk.read_bytes()
        chunk.unlink()
        if damage == "folder":
            chunk.mkdir()
        elif damage != "gone":
            chunk.write_bytes({"half": blob[: len(blob) // 2], "garbage": b"\xff" * len(blob), "empty": b""}[damage])
    predict(cubes, "make the cube again", s2=cubes)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: text[: len(text) // 2], "is not valid JSON"),
        (lambda text: "", "is not valid JSON"),
        (lambda text: "[]", "format"),
        (lambda text: '{"format": 1, "spec": {}}', "not a model description"),
        (lambda text: text.replace('"format": 1', '"format": 2'), "format 2"),
    ],
)
def test_a_model_description_that_is_damaged(
    predict: Callable[..., Said], mapped: Path, here: Path, spoil: Callable[[str], str], says: str
) -> None:
    model = linked(mapped / "work" / "products" / "model", here / "model")
    text = (model / "model.json").read_text()
    (model / "model.json").unlink()
    (model / "model.json").write_text(spoil(text))
    predict(model / "model.json", says, model=model)


class Attack:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("agreed", [False, True], ids=["digest differs", "digest agrees"])
@pytest.mark.parametrize("content", ["half", "ten", "empty", "pickle"])
def test_weights_that_are_damaged_or_a_pickle(
    predict: Callable[..., Said], mapped: Path, here: Path, content: str, agreed: bool
) -> None:
    model = linked(mapped / "work" / "products" / "model", here / "model")
    path, mark = model / "weights.safetensors", here / "ran"
    blob = path.read_bytes()
    wrong = {"half": blob[: len(blob) // 2], "ten": blob[:-10], "empty": b"", "pickle": pickle.dumps(Attack(mark))}
    path.unlink()
    path.write_bytes(wrong[content])
    if agreed:
        document = json.loads((model / "model.json").read_text())
        document["weights"]["sha256"] = hashlib.sha256(wrong[content]).hexdigest()
        (model / "model.json").unlink()
        (model / "model.json").write_text(json.dumps(document))
    predict(path, model=model)
    assert not mark.exists()


# --- targets ---------------------------------------------------------------------------------------------------------


def commands(region: Path, mapped: Path) -> list[list[str | Path]]:
    """Every verb that writes, with input that is right; the output follows."""
    products = mapped / "work" / "products"
    cubes = [w for s in ("s2", "s1", "dem") for w in ("--cube", f"{s}={products / 'cubes' / 'main' / s}")]
    scene = sorted(region.glob("s2/*.SAFE"))[0]
    observation = next((mapped / "work" / "results" / "preprocess_s2").rglob("observation.json")).parent
    patches = next((mapped / "work" / "results" / "patches" / "all").iterdir())
    pieces = sorted((products / "cubes" / "main" / "dem").rglob("cube.zarr"))
    labels = sorted((mapped / "work" / "results" / "labels").rglob("labels.tif"))
    legend, reference = region / "legend.yaml", region / "reference.tif"
    tile = [w for p in pieces for w in ("--cube", f"dem={p}")] + [w for p in labels for w in ("--labels", p)]
    return [
        ["preprocess", "s2", scene, "--out"],
        ["composite", observation, "--start", "2021-01", "--end", "2021-12", "--out"],
        ["labels", region / "labels.gpkg", "--legend", legend, "--like", reference, "--out"],
        ["tile", *tile, "--legend", legend, "--patch", "16", "--block", "16", "--out"],
        ["train", patches, "--epochs", "1", "--out"],
        ["predict", "--model", products / "model", *cubes, "--aoi", region / "region.geojson", "--out"],
        ["assess", products / "map" / "main" / "main_class.tif", "--reference", reference, "--out"],
        ["report", products, "--out"],
        ["demo", "--size", "tiny", "--generate-only"],
        ["run", region / "pipeline.yaml", "--until", "labels", "--workspace"],
    ]


def test_targets_below_a_file(run: Lc, region: Path, mapped: Path, here: Path) -> None:
    for command in commands(region, mapped):
        with nothing_appears(here):
            run.refuses("-q", *command, here / "file" / "out", code=3, says=(here / "file", "is a file, not a folder"))


@pytest.fixture
def little_room() -> Iterator[Callable[[int], None]]:
    """A function after which no file of this process can grow beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_files_that_cannot_grow(
    run: Lc, region: Path, mapped: Path, here: Path, little_room: Callable[[int], None]
) -> None:
    for number, command in enumerate(commands(region, mapped)[:-1]):
        with nothing_appears(here):
            little_room(600)
            said = run("-q", *command, here / f"out{number}")
            little_room(resource.RLIM_INFINITY)
            check_refusal(said, 3, ("cannot write",))


def test_a_full_disk_then_room_again(region: Path, mapped: Path, tmp_path: Path) -> None:
    """A small file system of its own where that is allowed; else files that cannot grow."""
    disk, work = tmp_path / "disk", tmp_path / "disk" / "work"
    disk.mkdir()
    command = [*LC, "-q", "run", str(region / "pipeline.yaml"), "--until", "composite", "--workspace", str(work)]
    mounted = os.geteuid() == 0 and _mount("size=3m", disk)
    room = None if mounted else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
    try:
        full = subprocess.run(command, capture_output=True, text=True, preexec_fn=room, timeout=600, check=False)
        said = Said(full.returncode, full.stdout, full.stderr)
        check_refusal(said, 3, ("cannot write", "the disk is full" if mounted else "check free space"))
        with nothing_half_done(work):
            pass
        if mounted:
            assert _mount("remount,size=200m", disk)
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        found = json.loads((work / "products" / "products.json").read_text())
        whole = json.loads((mapped / "work" / "products" / "products.json").read_text())
        assert found == {name: sha for name, sha in whole.items() if name.startswith("cubes/")}
        for name, sha in found.items():
            assert hashlib.sha256((work / "products" / name).read_bytes()).hexdigest() == sha
    finally:
        if mounted:
            subprocess.run(["umount", disk], check=True)


def _mount(options: str, folder: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    return (
        shutil.which("mount") is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


def test_a_workspace_with_spaces_and_other_letters(run: Lc, project: Project) -> None:
    project.only("s2", "dem")
    work = project.folder / "Arbeits bereich ß 地図 'x' [1] {2} %20"
    said = run("-q", "run", project.pipeline, "--until", "composite", "--workspace", work)
    assert said.code == 0, said.err
    assert "nothing to do" in run("-q", "run", project.pipeline, "--until", "composite", "--workspace", work).out
    moved = project.folder.rename(project.folder.with_name("räumlich [neu] * ? #1"))
    again = run("-q", "run", moved / "pipeline.yaml", "--until", "composite", "--workspace", moved / "ü {x}")
    assert again.code == 0, again.err


def test_the_truth_is_not_spoiled(region: Path) -> None:
    """The tests before worked on hard links; what they link to must be as it was made."""
    for path in region.rglob("*.tif"):
        with rasterio.open(path) as raster:
            assert raster.read(1).size
