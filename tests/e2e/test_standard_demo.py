"""The standard demo at three seeds: accuracy on the unlabelled half, and what a second sensor adds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import lc

SEEDS = (7, 8, 9)
CHECK = Path(__file__).resolve().parents[1] / "check_demo.py"


def accuracy(folder: Path, workspace: str, *options: str) -> float:
    done = lc("-q", "run", folder / "pipeline.yaml", "--workspace", folder / workspace, *options, timeout=1800)
    assert done.returncode == 0, done.stderr
    text = (folder / workspace / "products" / "assess" / "main" / "assessment.json").read_text(encoding="utf-8")
    return float(json.loads(text)["overall_accuracy"])


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", SEEDS)
def test_two_sensors_are_no_worse_than_the_better_of_them(tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "demo"
    made = lc("-q", "demo", folder, "--seed", str(seed), timeout=1800)
    assert made.returncode == 0, made.stderr
    subprocess.run([sys.executable, CHECK, folder], check=True)
    # The same cubes, another model: only the model and what follows it runs again.
    both = accuracy(folder, "work")
    optical = accuracy(folder, "work", "--set", "train.inputs=[s2, dem]")
    radar = accuracy(folder, "work", "--set", "train.inputs=[s1, dem]")
    print(f"seed {seed}: S1+S2 {both:.4f}, S2 {optical:.4f}, S1 {radar:.4f}")
    assert both >= 0.90
    assert both >= max(optical, radar) - 0.005
