"""Geoid grids of PROJ: listed, checked, and put where they are looked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from loopback import PAGE, Site, serve, stay_on_loopback
from rasterio.io import MemoryFile
from typer.testing import CliRunner

from landcover_cli.cli.app import app
from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.geoid import find_geoid, open_geoid

EGM96, EGM2008 = "us_nga_egm96_15.tif", "us_nga_egm08_25.tif"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    stay_on_loopback(monkeypatch)
    with serve() as found:
        yield found


def grid(value: float = 48.0, degrees: float = 360.0) -> bytes:
    """A coarse grid in the layout of PROJ's: nodes on whole steps, −180 to 180."""
    step = 0.5
    width = round(degrees / step)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", width=width, height=361, count=1, dtype="float32", crs="EPSG:4326",
            transform=Affine(step, 0, -180.0 - step / 2, 0, -step, 90.0 + step / 2), compress="deflate",
        ) as dataset:  # fmt: skip
            dataset.write(np.full((361, width), value, dtype=np.float32), 1)
        return bytes(memory.read())


def put(site: Site, listed: bool = True, **grids: bytes) -> None:
    site.files |= {f"/{name}.tif": data for name, data in grids.items()}
    if listed:
        features = [
            {"properties": {"name": f"{n}.tif", "file_size": len(d), "sha256sum": hashlib.sha256(d).hexdigest()}}
            for n, d in grids.items()
        ]
        site.files["/files.geojson"] = json.dumps({"type": "FeatureCollection", "features": features}).encode()


def lc(*args: object) -> str:
    result = CliRunner().invoke(app, ["fetch", "geoid", *map(str, args)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_both_grids_come_to_projs_own_folder_and_are_found_there(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "proj"
    monkeypatch.setattr("landcover_cli.io.fetch_geoid.user_folder", lambda: home)
    put(site, us_nga_egm96_15=grid(46.5), us_nga_egm08_25=grid(48.0))
    record = json.loads(lc("--base-url", site.base, "--dry-run", "--json"))
    assert [(f["name"], f["status"]) for f in record["files"]] == [(EGM96, "to fetch"), (EGM2008, "to fetch")]
    assert record["bytes_to_fetch"] == len(grid(46.5)) + len(grid(48.0))
    assert not home.exists()
    lc("--base-url", site.base)
    # No record among the files of another library.
    assert sorted(p.name for p in home.iterdir()) == [EGM2008, EGM96]
    assert find_geoid("egm2008", [home]) == home / EGM2008
    assert open_geoid("egm96", None, [home]).undulation(np.array([12.5]), np.array([41.9]))[0] == pytest.approx(46.5)
    lc("--base-url", site.base, "--name", "egm96", "--out", tmp_path / "own")
    assert sorted(p.name for p in (tmp_path / "own").iterdir()) == ["lc-fetch.json", EGM96]


def test_projs_folder_is_where_geoids_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from landcover_cli.io.fetch_geoid import user_folder
    from landcover_cli.io.geoid import proj_folders

    monkeypatch.setenv("PROJ_USER_WRITABLE_DIRECTORY", str(tmp_path))
    assert user_folder() in proj_folders() or not user_folder().exists()


def test_a_mirror_without_a_list_will_do(site: Site, tmp_path: Path) -> None:
    put(site, listed=False, us_nga_egm08_25=grid())
    lc("--base-url", site.base, "--name", "egm2008", "--out", tmp_path)
    assert (tmp_path / EGM2008).read_bytes() == grid()


def test_wrong_grids_are_refused(site: Site, tmp_path: Path) -> None:
    args = ("--base-url", site.base, "--name", "egm2008", "--out", tmp_path / "g")
    put(site, us_nga_egm08_25=grid())
    site.files[f"/{EGM2008}"] = grid(47.0).ljust(len(grid()), b"\0")[: len(grid())]
    with pytest.raises(InputError, match="its sha256 is"):
        lc(*args)
    for content, message in (
        (PAGE, "HTML page"),
        (grid(4800.0), "no global geoid grid .*4800"),
        (grid(48.0, 90.0), "no global geoid grid"),
        (grid()[:600], "is truncated"),
    ):
        put(site, us_nga_egm08_25=content)
        with pytest.raises(InputError, match=message):
            lc(*args)
    assert not list((tmp_path / "g").iterdir())
    site.files["/files.geojson"] = PAGE
    with pytest.raises(InputError, match="is not PROJ's list"):
        lc(*args)
    with pytest.raises(UsageError, match="--name 'egm84'"):
        lc("--name", "egm84", "--out", tmp_path, "--base-url", site.base)
    sums = tmp_path / "sums"
    sums.write_text(f"{'0' * 64}  {EGM2008}\n")
    put(site, us_nga_egm08_25=grid())
    with pytest.raises(InputError, match="and should be 0000"):
        lc(*args, "--checksums", sums)
