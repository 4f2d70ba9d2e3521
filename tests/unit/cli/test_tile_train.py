"""`lc tile` and `lc train` alone: explicit paths in, whole folders out, errors with exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from synthetic_cubes import LEGEND, make_ground
from typer.testing import CliRunner

from landcover_cli.cli.app import app
from landcover_cli.errors import LcError
from landcover_cli.io.legendfile import write_legend

SMALL = ["--set", "options.widths=[8,16]", "--set", "options.image_widths=[4,8]", "--set", "options.heads=4"]


def lc(*args: object) -> str:
    found = CliRunner().invoke(app, ["-q", *map(str, args)], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


def refused(code: int, match: str, *args: object) -> None:
    with pytest.raises(LcError, match=match) as error:
        CliRunner().invoke(app, ["-q", *map(str, args)], catch_exceptions=False)
    assert error.value.exit_code == code
    assert error.value.remedy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cli")
    make_ground(root)
    write_legend(root / "legend.json", LEGEND)
    return root


def tile_args(root: Path, out: str) -> list[object]:
    cubes = [part for name in ("s1", "s2") for part in ("--cube", f"{name}={root / name}.zarr")]
    return [
        "tile", *cubes, "--labels", root / "labels.tif", "--legend", root / "legend.json", "--out", root / out,
        "--patch", 16, "--block", 16,
    ]  # fmt: skip


def test_tile_then_train(folder: Path) -> None:
    found = json.loads(lc(*tile_args(folder, "patches"), "--ratios", "5:3:2", "--json"))
    assert found["train"] > found["validation"] > 0
    text = lc("train", folder / "patches", "--out", folder / "model", "--epochs", 2, *SMALL)
    assert "best epoch" in text
    assert (folder / "model" / "model.json").is_file()
    assert not list(folder.glob(".model*"))
    refused(3, "exists already", "train", folder / "patches", "--out", folder / "model")
    refused(2, "unknown key `train.epochz`; did you mean `epochs`", "train", folder / "patches", "--out", folder / "x",
            "--set", "epochz=3")  # fmt: skip
    refused(2, "no source 's9'", "train", folder / "patches", "--out", folder / "x", "--input", "s9")
    refused(3, "patches.json", "train", folder, "--out", folder / "x")
    assert not (folder / "x").exists()


def test_bad_tile_options_are_named(folder: Path) -> None:
    refused(2, "not NAME=PATH", *tile_args(folder, "x"), "--cube", "s3")
    refused(2, "'abc' are no numbers", *tile_args(folder, "x"), "--ratios", "abc")
    refused(2, "train must be above 0", *tile_args(folder, "x"), "--ratios", "0:1:1")
    refused(2, "--patch 'abc' is no length", *tile_args(folder, "x"), "--patch", "abc")
    refused(2, "exclude each other", *tile_args(folder, "x"), "--stride", 8, "--overlap", 8)
    refused(2, "in pixels, --patch 160m in metres", *tile_args(folder, "x"), "--patch", "160m", "--overlap", 8)
    refused(2, "165 m are 16.5 px", *tile_args(folder, "x"), "--patch", "165m", "--overlap", "80m")
    refused(2, "'s7' is no --cube", *tile_args(folder, "x"), "--optional", "s7")
    refused(3, "is no cube", *tile_args(folder, "x"), "--cube", "dem=nowhere.zarr")
    assert not (folder / "x").exists()


def test_interrupted_training_resumes_to_the_same_weights(folder: Path) -> None:
    lc(*tile_args(folder, "patches2"))
    common = ["train", str(folder / "patches2"), "--epochs", "40", *SMALL, "--set", "threads=1"]
    command = [sys.executable, "-c", "from landcover_cli.cli.main import main; main()", *common]
    run = subprocess.Popen([*command, "--out", str(folder / "cut")], stderr=subprocess.PIPE)
    checkpoint = folder / ".cut.checkpoint"
    until = time.monotonic() + 120
    while not list(checkpoint.glob("epoch-*/state.json")) and run.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    assert run.returncode == 130
    assert not (folder / "cut").exists()
    done = len(json.loads(next(checkpoint.glob("epoch-*/state.json")).read_text())["rows"])
    assert 1 <= done < 40
    lc(*common, "--out", folder / "cut", "--resume")
    lc(*common, "--out", folder / "whole")
    for name in ("weights.safetensors", "metrics.json", "curves.csv"):
        assert (folder / "cut" / name).read_bytes() == (folder / "whole" / name).read_bytes()
    assert not checkpoint.exists()
