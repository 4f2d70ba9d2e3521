"""Running `lc` on input that is wrong on purpose, and what every refusal must look like."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from affine import Affine

from landcover_cli.cli.main import main


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Lc:
    """`lc` within this process: what it refuses costs no interpreter start."""

    capfd: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, *args: str | Path) -> Said:
        """Run a command; what it writes is kept from the test's own output, GDAL's lines included."""
        before = signal.getsignal(signal.SIGTERM)
        self.capfd.readouterr()
        with self.monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["lc", *map(str, args)])
            with pytest.raises(SystemExit) as end:
                main()
        signal.signal(signal.SIGTERM, before)
        out, err = self.capfd.readouterr()
        return Said(int(end.value.code or 0), out, err)

    def refuses(self, *args: str | Path, code: int, says: tuple[str | Path, ...]) -> Said:
        """Run a command that must end with `code`, one error and one remedy, and each of `says` in its words."""
        said = self(*args)
        check_refusal(said, code, says)
        return said


def check_refusal(said: Said, code: int, says: tuple[str | Path, ...]) -> None:
    """The form of every refusal: code, one error line, a remedy, no traceback, nothing on standard output."""
    assert said.code == code, said
    assert said.out == "", said
    assert said.err.count("lc: error: ") == 1, said.err
    problem, _, remedy = said.err.partition("lc: error: ")[2].partition("    remedy: ")
    assert len(remedy.strip()) > 8, said.err
    for bad in ("Traceback", "internal error", "Error: ", "Errno", "<class", "object at 0x"):
        assert bad not in problem + remedy, said.err
    for text in says:
        assert str(text) in problem + remedy, (text, said.err)


@dataclass(frozen=True)
class Project:
    """A copy of the tiny demo that a test may spoil: hard links, so a file is replaced, never written in place."""

    folder: Path

    @property
    def pipeline(self) -> Path:
        """Its pipeline file."""
        return self.folder / "pipeline.yaml"

    @property
    def work(self) -> Path:
        """Its workspace."""
        return self.folder / "work"

    def scene(self) -> Path:
        """The first Sentinel-2 product of January."""
        return sorted(self.folder.glob("s2/*_202101*.SAFE"))[0]

    def band(self, name: str) -> Path:
        """A band's file of that product."""
        return next(self.scene().rglob(f"*_{name}_*.jp2"))

    def replace(self, name: str | Path, content: bytes | str) -> Path:
        """Put other content under a name."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def cut(self, path: Path, keep: float | int) -> Path:
        """Cut a file off: a share of it is kept, or all but some bytes."""
        blob = path.read_bytes()
        return self.replace(path, blob[: int(len(blob) * keep)] if isinstance(keep, float) else blob[:keep])

    def edit(self, change: Callable[[dict[str, Any]], object]) -> Path:
        """Change the pipeline file."""
        document = yaml.safe_load(self.pipeline.read_text(encoding="utf-8"))
        change(document)
        return self.replace("pipeline.yaml", yaml.safe_dump(document, allow_unicode=True))

    def ready_backscatter(self) -> Path:
        """Make `s1` a ready-made stack of one date per month, as others deliver it; returns the file of February."""
        rng = np.random.default_rng(2)
        profile = {"driver": "GTiff", "height": 96, "width": 192, "count": 2, "dtype": "float32", "nodata": np.nan}
        where = {"crs": "EPSG:32633", "transform": Affine(10, 0, 345_600, 0, -10, 5_379_840)}
        (self.folder / "ready").mkdir()
        for month in range(1, 13):
            path = self.folder / "ready" / f"gamma0_2021{month:02d}22.tif"
            with rasterio.open(path, "w", **profile, **where) as target:
                target.write(rng.gamma(4.4, 0.02, (2, 96, 192)).astype(np.float32))
                target.descriptions = ("VV", "VH")
        stack = {"type": "stack", "sensor": "sentinel1", "files": ["ready/*.tif"], "units": "linear"}
        self.edit(lambda document: document["sources"].update(s1=stack))
        return self.folder / "ready" / "gamma0_20210222.tif"

    def radar(self) -> Path:
        """The first Sentinel-1 product of February."""
        return sorted(self.folder.glob("s1/*_202102*.SAFE"))[0]

    def only(self, *sources: str) -> None:
        """Keep some sources, and the first two months: enough to break a step in a second."""

        def change(document: dict[str, Any]) -> None:
            document["sources"] = {name: document["sources"][name] for name in sources}
            document["period"] = {"start": "2021-01", "end": "2021-02"}

        self.edit(change)


def linked(source: Path, target: Path) -> Path:
    """A copy of a folder as hard links."""
    # The lock is written in place.
    shutil.copytree(source, target, copy_function=_link, ignore=shutil.ignore_patterns("lock"))
    return target


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def tree(folder: Path) -> set[str]:
    """All files below a folder, and what is hidden: scratch is."""
    found = (path for path in folder.rglob("*") if not path.is_dir() or path.name.startswith("."))
    return {str(path.relative_to(folder)) for path in found}


@contextmanager
def nothing_appears(folder: Path) -> Iterator[None]:
    """Check that a refused command leaves a folder as it was, hidden files included."""
    before = tree(folder)
    yield
    assert tree(folder) == before


@contextmanager
def nothing_half_done(work: Path, unit: str = "") -> Iterator[None]:
    """Check that a refused run leaves no scratch, no product, no result of the unit that failed, no other but whole."""
    yield
    scratch = work / "scratch"
    assert not scratch.exists() or not list(scratch.iterdir())
    assert not (work / "products").exists()
    left = {path for path in (work / "results").rglob("*") if path.is_file()}
    assert not [path for path in left if unit and unit in str(path)]
    for manifest in (work / "results").rglob("manifest.json"):
        files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        assert all((manifest.parent / name).stat().st_size == facts["size"] for name, facts in files.items())
        left -= {manifest, *(manifest.parent / name for name in files)}
    assert not left
