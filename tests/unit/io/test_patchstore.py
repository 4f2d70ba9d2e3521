"""The patch store gives back what was written, in few files, the same bytes each time."""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from landcover_cli.core.types import split_periods
from landcover_cli.core.windows import PixelBox
from landcover_cli.errors import InputError
from landcover_cli.io import patchstore
from landcover_cli.io.patchindex import PatchRecord, read_index, write_index
from landcover_cli.io.patchstore import PatchPort, PatchSample, PatchStore, PatchWriter, StoredInput

YEAR = split_periods(date(2021, 1, 1), date(2021, 7, 1), "month")
S2 = PatchPort(
    "s2", "series", ("a", "b"), "reflectance_dn", 1e-4, -0.1, 10.0, "uint16", False,
    {"north": YEAR, "south": YEAR[:4]},
)  # fmt: skip
DEM = PatchPort("dem", "image", ("h",), "m", 1.0, 0.0, 20.0, "float32", True, {"north": ()})
REGIONS = ["north"] * 7 + ["south"] * 4


def sample(region: str, seed: int) -> PatchSample:
    rng = np.random.default_rng(seed)
    dates = len(S2.periods[region])
    valid = rng.random((dates, 16, 16)) < 0.5
    data = np.where(valid[:, None], rng.integers(1, 9000, (dates, 2, 16, 16)), 0).astype("uint16")
    inputs = {"s2": StoredInput(data, valid, valid.astype("uint16"), S2.periods[region])}
    if region == "north":
        height = rng.normal(size=(1, 1, 8, 8)).astype("float32")
        inputs["dem"] = StoredInput(height, np.ones((1, 8, 8), bool), np.ones((1, 8, 8), "uint16"), ())
    return PatchSample(inputs, rng.integers(0, 3, (16, 16)).astype("uint8"))


def write(folder: Path) -> Path:
    folder.mkdir()
    with PatchWriter(
        folder / "patches.zarr", (S2, DEM), REGIONS, patch_px=16, gsd_m=10.0, dtype="uint8", nodata=255
    ) as writer:
        for index, region in enumerate(REGIONS):
            writer.write(sample(region, index))
    return folder


def tree(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


@pytest.mark.parametrize("shard_bytes", [1, 20_000, 32 * 1024**2])
def test_gives_back_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_bytes: int) -> None:
    monkeypatch.setattr(patchstore, "_SHARD_BYTES", shard_bytes)
    store = PatchStore(write(tmp_path / "p"))
    assert store.ports == (S2, DEM)
    assert len(store) == 11
    for index in (10, 0, 6, 7):
        wanted, found = sample(REGIONS[index], index), store.read(index)
        np.testing.assert_array_equal(found.labels_yx, wanted.labels_yx)
        assert set(found.inputs) == set(wanted.inputs)
        for name, stored in wanted.inputs.items():
            back = found.inputs[name]
            assert back.periods == stored.periods
            np.testing.assert_array_equal(back.data_tbyx, stored.data_tbyx)
            np.testing.assert_array_equal(back.valid_tyx, stored.valid_tyx)
            np.testing.assert_array_equal(back.n_clear_tyx, stored.n_clear_tyx)


def test_one_chunk_a_patch_many_patches_a_shard(tmp_path: Path) -> None:
    import zarr

    folder = write(tmp_path / "p")
    array = zarr.open_array(folder / "patches.zarr" / "s2" / "data", mode="r")
    assert array.chunks == (1, 6, 2, 16, 16)
    assert array.shards == (11, 6, 2, 16, 16)
    files = [p for p in (folder / "patches.zarr" / "s2" / "data").rglob("*") if p.is_file()]
    assert len(files) == 2  # the metadata and one shard


def test_same_bytes_each_time(tmp_path: Path) -> None:
    assert tree(write(tmp_path / "a")) == tree(write(tmp_path / "b"))


def test_too_few_patches_are_noticed(tmp_path: Path) -> None:
    writer = PatchWriter(tmp_path / "x.zarr", (S2,), ["north"], patch_px=16, gsd_m=10.0, dtype="uint8", nodata=255)
    with pytest.raises(ValueError, match="0 patches written, 1 announced"):
        writer.close()


def test_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"patches\.zarr is missing"):
        PatchStore(tmp_path)
    folder = write(tmp_path / "p")
    shard = next(p for p in (folder / "patches.zarr" / "s2" / "data").rglob("0") if p.is_file())
    shard.write_bytes(shard.read_bytes()[:-700])
    with pytest.raises(InputError, match="s2/data of patch 3 is damaged"):
        PatchStore(folder).read(3)
    (folder / "patches.zarr" / "zarr.json").write_text("{}")
    with pytest.raises(InputError, match="no patch store"):
        PatchStore(folder)


def test_index_round_trip_and_same_bytes(tmp_path: Path) -> None:
    import geopandas

    records = tuple(
        PatchRecord("main", f"x0_y{i}", PixelBox(-16 * i, 8, -16 * i + 16, 24), ("train", "test")[i % 2], (i, 0, 3))
        for i in range(5)
    )
    for name in "ab":
        (tmp_path / name).mkdir()
        write_index(tmp_path / name / "index.parquet", records, (1, 5, 9), "EPSG:32633", 10.0)
    assert read_index(tmp_path / "a") == records
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    frame = geopandas.read_parquet(tmp_path / "a" / "index.parquet")
    assert frame.crs.to_epsg() == 32633
    assert frame.geometry.iloc[1].bounds == (80.0, 0.0, 240.0, 160.0)
    assert frame["px_9"].tolist() == [3] * 5
    with pytest.raises(InputError, match=r"index\.parquet is missing"):
        read_index(tmp_path)
