"""The whole chain on the tiny demo: resumption, explanation, the same bytes however it runs."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import LC, lc

EXECUTORS = {
    "serial": ["--executor", "serial", "--workers", "1"],
    "threads": ["--executor", "threads", "--workers", "2"],
    "processes": ["--executor", "processes", "--workers", "2"],
    "dask": ["--executor", "dask", "--workers", "2"],
}


def products(folder: Path) -> dict[str, str]:
    index = folder / "work" / "products" / "products.json"
    return dict(json.loads(index.read_text(encoding="utf-8")))


def test_the_map_is_a_strict_cog_and_the_page_stands_alone(mapped: Path) -> None:
    from rio_cogeo.cogeo import cog_validate

    maps = sorted((mapped / "work" / "products" / "map").rglob("*.tif"))
    assert {path.stem.split("_")[-1] for path in maps} >= {"class", "confidence", "validity"}
    for path in maps:
        assert cog_validate(path, strict=True, quiet=True)[0], path
    page = (mapped / "work" / "products" / "report" / "report.html").read_text(encoding="utf-8")
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert 'src="http' not in page


def test_deliverables_hold_nothing_of_time_host_or_place(mapped: Path) -> None:
    import platform

    needles = [str(mapped).encode(), platform.node().encode()]
    for name in products(mapped):
        content = (mapped / "work" / "products" / name).read_bytes()
        for needle in needles:
            assert len(needle) < 4 or needle not in content, (name, needle)


def test_a_second_run_does_nothing_within_three_seconds_of_cpu(mapped: Path) -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = lc("run", mapped / "pipeline.yaml")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0
    assert "nothing to do" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= 3.0


@pytest.mark.parametrize(
    ("change", "steps", "field"),
    [
        ("train.epochs=3", {"train", "predict", "map", "assess", "report"}, "train.epochs"),
        ("predict.blend=hann", {"predict", "map", "assess", "report"}, "predict.blend"),
        ("report.title=Another", {"report"}, "report.title"),
        ("sources.s2.mask=none", {"preprocess_s2", "composite", "patches", "train", "predict"}, "mask"),
    ],
)
def test_a_changed_parameter_reruns_what_depends_on_it(mapped: Path, change: str, steps: set[str], field: str) -> None:
    done = lc("status", mapped / "pipeline.yaml", "--why", "--json", "--set", change)
    assert done.returncode == 0, done.stderr
    units = [unit for unit in json.loads(done.stdout)["units"] if not unit["done"]]
    assert steps <= {unit["step"] for unit in units}
    assert not {"labels"} & {unit["step"] for unit in units}
    assert any(field in reason for unit in units for reason in unit["why"])
    again = [unit["unit"] for unit in units if unit["step"] == "composite"]
    assert all("/s2/" in unit for unit in again)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_every_executor_gives_the_same_bytes(
    region: Path, mapped: Path, copy_of: Callable[[Path], Path], executor: str
) -> None:
    folder = copy_of(region)
    done = lc("-q", "run", folder / "pipeline.yaml", *EXECUTORS[executor], timeout=600)
    assert done.returncode == 0, done.stderr
    assert products(folder) == products(mapped)


def test_killed_at_random_moments_it_ends_with_the_same_bytes(
    region: Path, mapped: Path, copy_of: Callable[[Path], Path]
) -> None:
    folder = copy_of(region)
    rng = random.Random(20211101)
    kills = 0
    for _ in range(5):
        process = subprocess.Popen(
            [*LC, "-q", "run", str(folder / "pipeline.yaml")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        time.sleep(rng.uniform(1.5, 8.0))
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills >= 1
    done = lc("-q", "run", folder / "pipeline.yaml")
    assert done.returncode == 0, done.stderr
    assert products(folder) == products(mapped)
    assert not list((folder / "work" / "scratch").iterdir())


def test_two_runs_at_once_one_works_the_other_names_it(region: Path, copy_of: Callable[[Path], Path]) -> None:
    folder = copy_of(region)
    first = subprocess.Popen(
        [*LC, "-q", "run", str(folder / "pipeline.yaml")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    lock = folder / "work" / "lock"
    deadline = time.monotonic() + 60
    while not (lock.exists() and lock.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    second = lc("run", folder / "pipeline.yaml")
    assert second.returncode == 5, second.stderr
    assert str(first.pid) in second.stderr
    first.communicate()
    assert first.returncode == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_stop_the_run_within_seconds(
    region: Path, copy_of: Callable[[Path], Path], number: signal.Signals, code: int
) -> None:
    folder = copy_of(region)
    process = subprocess.Popen(
        [*LC, "-q", "run", str(folder / "pipeline.yaml")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    lock = folder / "work" / "lock"
    deadline = time.monotonic() + 60
    while not (lock.exists() and lock.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert "finished units are kept" in errors
    scratch = folder / "work" / "scratch"
    assert not scratch.exists() or not list(scratch.iterdir())


def test_a_moved_workspace_is_still_done(mapped: Path, copy_of: Callable[[Path], Path]) -> None:
    folder = copy_of(mapped)
    moved = folder.with_name("räumlich verschoben")
    shutil.move(folder, moved)
    done = lc("run", moved / "pipeline.yaml")
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout
