"""`lc preprocess s1` of several products: all are checked first, and the same command goes on after a stop."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from s1product import ASCENDING, ASCENDING_DAY, write_aoi, write_dem, write_product
from typer.testing import CliRunner

from landcover_cli.cli.app import app
from landcover_cli.errors import InputError


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product, a terrain model and an area."""
    folder = tmp_path_factory.mktemp("s1")
    write_product(folder, ASCENDING)
    write_dem(folder / "dem.tif")
    write_aoi(folder / "aoi.geojson")
    return folder


def safe_of(place: Path) -> Path:
    return next(place.glob("*.SAFE"))


def lc(place: Path, out: Path, *more: object, product: Path | None = None, dem: Path | None = None) -> str:
    args = [
        "preprocess", "s1", product or safe_of(place), "--out", out, "--dem", dem or place / "dem.tif",
        "--dem-height", "ellipsoidal", "--aoi", place / "aoi.geojson", "--crs", "EPSG:32633", "--workers", 1, *more,
    ]  # fmt: skip
    result = CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()
    }


@pytest.fixture(scope="module")
def second(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product of another day."""
    folder = tmp_path_factory.mktemp("s1_second")
    write_product(folder, ASCENDING, ASCENDING_DAY + timedelta(days=12), seed=2)
    return safe_of(folder)


QUICK = ("--no-cog", "--speckle", "none", "--polarisation", "VV", "--backscatter", "beta0")


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError])
def test_the_same_command_goes_on_after_a_stop(place, second, tmp_path, monkeypatch, error):
    from landcover_cli.io import preprocess_s1

    whole, out = tmp_path / "whole", tmp_path / "out"
    lc(place, whole, second, *QUICK)
    first, done = preprocess_s1.preprocess_s1, []

    def stops(prepared, *rest):
        if done:
            raise error("stopped")
        done.append(prepared.about.id)
        return first(prepared, *rest)

    # Of a Ctrl-C the command line makes its exit code.
    with monkeypatch.context() as patch, pytest.raises((error, AssertionError), match=r"stopped|130 == 0"):
        patch.setattr(preprocess_s1, "preprocess_s1", stops)
        lc(place, out, second, *QUICK)
    assert [p.name for p in out.iterdir()] == [safe_of(place).stem]
    stamp = (out / safe_of(place).stem / "data.tif").stat().st_mtime_ns
    said = lc(place, out, second, *QUICK, "--workers", 2).splitlines()
    assert said == [f"kept, finished before: {out / safe_of(place).stem}", f"wrote {out / second.stem}"]
    assert (out / safe_of(place).stem / "data.tif").stat().st_mtime_ns == stamp
    assert digests(out) == digests(whole)


def test_only_what_was_asked_for_is_kept(place, tmp_path, monkeypatch):
    out = tmp_path / "out"
    made = json.loads(lc(place, out, "--json"))
    assert json.loads(lc(place, out, "--json")) == [{**made[0], "kept": True}]
    before = digests(out)

    def differs(*more: object, **options: object) -> None:
        with pytest.raises(InputError, match=r"exists already, made with other parameters") as caught:
            lc(place, out, *more, **options)
        assert "choose another --out" in caught.value.remedy

    differs("--scale", "db")
    differs("--no-cog")
    differs("--speckle", "none")
    (tmp_path / "other").mkdir()
    differs(dem=write_dem(tmp_path / "other" / "dem.tif", shift_m=1.0))
    other = tmp_path / safe_of(place).name
    shutil.copytree(safe_of(place), other)
    table = next(other.glob("annotation/calibration/noise-*-vh-*.xml"))
    text = table.read_text()
    table.write_text(text.replace("<noiseRangeLut count", "<noiseRangeLut  count"))  # other bytes, same values
    assert table.read_text() != text
    assert "kept" in lc(place, out, product=other)
    table.write_text(re.sub(r"(<noiseRangeLut count[^>]*>)\S+", r"\g<1>77.5", text))
    assert table.read_text() != text
    differs(product=other)
    monkeypatch.setattr("landcover_cli.__version__", "99")
    differs()
    (out / safe_of(place).stem / "observation.json").unlink()
    with pytest.raises(InputError, match="exists already"):
        lc(place, out)
    assert {**digests(out), f"{safe_of(place).stem}/observation.json": ""} == {
        **before,
        f"{safe_of(place).stem}/observation.json": "",
    }


@pytest.mark.parametrize("fault", ["table", "area", "polarisation", "output"])
def test_every_product_is_checked_before_the_first_is_begun(place, second, tmp_path, monkeypatch, fault):
    def begun(*_: object) -> None:
        raise AssertionError("a product was begun")

    monkeypatch.setattr("landcover_cli.io.preprocess_s1.preprocess_s1", begun)
    bad, out = tmp_path / second.name, tmp_path / "out"
    shutil.copytree(second, bad)
    match = "exists already"
    if fault == "table":
        next(bad.glob("annotation/calibration/calibration-*-vv-*.xml")).unlink()
        match = "is missing"
    elif fault == "polarisation":
        for path in bad.glob("annotation/*-vv-*.xml"):
            path.unlink()
        match = "no polarisation VV|missing"
    elif fault == "area":
        for path in bad.glob("annotation/*.xml"):
            text = path.read_text()
            path.write_text(re.sub(r"(<longitude>)(-?[\d.e+-]+)", lambda m: f"{m[1]}{float(m[2]) + 3}", text))
        match = "lies off"
    else:
        (out / bad.stem).mkdir(parents=True)
        (out / bad.stem / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=match):
        lc(place, out, bad, *QUICK)
    assert not (out / safe_of(place).stem).exists()


def test_leftovers_of_killed_processes_go(place, tmp_path):
    from landcover_cli.io.atomic import atomic_folder

    out, name = tmp_path / "out", safe_of(place).stem
    with atomic_folder(out / name) as scratch:
        live = scratch.name
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        dead = live.replace(f".{os.getpid()}-", f".{ended.pid}-")
        other_host = dead[:-16] + ("0" if dead[-16] != "0" else "1") + dead[-15:]
        other_target = dead.replace(name, "other")
        for each in (dead, other_host, other_target):
            (out / each).mkdir()
            (out / each / "data.tif").write_text("half")
        lc(place, out, "--dry-run", *QUICK)
        assert (out / dead).exists()
        lc(place, out, *QUICK)
        assert {p.name for p in out.iterdir()} == {name, live, other_host, other_target}
        shutil.rmtree(out / name)
