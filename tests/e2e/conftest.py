"""The tiny demo, made once per session; each test that changes something works on a copy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

LC = [sys.executable, "-c", "from landcover_cli.cli.main import main; main()"]


def lc(*args: str | Path, cwd: Path | None = None, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run `lc` as a user does: in a process of its own."""
    return subprocess.run(
        [*LC, *map(str, args)], capture_output=True, text=True, cwd=cwd, timeout=timeout, check=False, env=os.environ
    )


@pytest.fixture(scope="session")
def region(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny demo's products, not mapped."""
    folder = tmp_path_factory.mktemp("tiny") / "region"
    done = lc("-q", "demo", folder, "--size", "tiny", "--generate-only")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def mapped(region: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny demo, mapped by an undisturbed run. Do not change it: copy it."""
    folder = tmp_path_factory.mktemp("mapped") / "region"
    shutil.copytree(region, folder)
    done = lc("-q", "run", folder / "pipeline.yaml")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    """A function that copies a demo into this test's folder; hard links where the file system has them."""

    def copy(folder: Path) -> Path:
        target = tmp_path / "region"
        shutil.copytree(folder, target)
        return target

    return copy
