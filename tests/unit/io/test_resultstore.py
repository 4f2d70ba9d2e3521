"""The result store, its digests and its lock."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from landcover_cli.core.unit import PlannedUnit, Unit, plan_unit
from landcover_cli.errors import InputError, WorkspaceLockedError
from landcover_cli.io.digests import FileDigests
from landcover_cli.io.lock import workspace_lock
from landcover_cli.io.resultstore import MANIFEST, ResultStore, differences


def planned(value: int = 1, unit_id: str = "a/b") -> PlannedUnit:
    return plan_unit(Unit("toy", unit_id, params={"toy": {"value": value}}), 1, {}, {})


def write_x(folder: Path) -> None:
    (folder / "x.txt").write_text("x")


def test_a_unit_is_done_when_its_folder_exists(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    unit = planned()
    assert not store.is_done(unit)
    store.produce(unit, write_x)
    assert store.is_done(unit)
    manifest = store.manifest(unit)
    assert manifest["key"] == unit.key
    assert manifest["files"]["x.txt"]["size"] == 1
    assert not list((tmp_path / "scratch").iterdir())


def test_a_manifest_holds_nothing_of_time_host_or_place(tmp_path: Path) -> None:
    first, second = ResultStore(tmp_path / "one"), ResultStore(tmp_path / "two")
    texts = [(store.produce(planned(), write_x) / MANIFEST).read_text() for store in (first, second)]
    assert texts[0] == texts[1]
    assert str(tmp_path) not in texts[0]


def test_a_failed_unit_leaves_nothing(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)

    def fail(folder: Path) -> None:
        write_x(folder)
        raise InputError("no")

    with pytest.raises(InputError):
        store.produce(planned(), fail)
    assert not store.is_done(planned())
    assert not list((tmp_path / "scratch").iterdir())


def test_two_racing_writers_leave_one_result(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    barrier = threading.Barrier(2)

    def write(folder: Path) -> None:
        write_x(folder)
        barrier.wait(10)

    threads = [threading.Thread(target=store.produce, args=(planned(), write)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.is_done(planned())
    assert len(list(store.unit_folder(planned().unit).iterdir())) == 1


def test_prune_keeps_what_it_is_told(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    kept = store.produce(planned(1), write_x)
    store.produce(planned(2), write_x)
    store.produce(planned(1, "c"), write_x)
    count, freed = store.prune({kept})
    assert count == 2
    assert freed > 0
    assert store.is_done(planned(1))
    assert not (tmp_path / "results" / "toy" / "c").exists()


def test_differences_name_the_leaf() -> None:
    old = {"params": {"train": {"epochs": 1, "batch": 2}}, "files": {"a": "0"}}
    new = {"params": {"train": {"epochs": 3, "batch": 2}}, "files": {"a": "0", "b": "1"}}
    assert differences(old, new) == [("files.b", None, "1"), ("params.train.epochs", 1, 3)]


def test_digest_follows_content_not_place(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("same")
    (tmp_path / "b").write_text("same")
    digests = FileDigests(tmp_path / "cache.json")
    assert digests.digest(str(tmp_path / "a")) == digests.digest(str(tmp_path / "b"))
    digests.save()
    again = FileDigests(tmp_path / "cache.json")
    before = again.digest(str(tmp_path / "a"))
    (tmp_path / "a").write_text("other!")
    assert again.digest(str(tmp_path / "a")) != before


def test_digest_of_a_folder_sees_names_and_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "x").write_text("1")
    digests = FileDigests(tmp_path / "cache.json")
    first = digests.digest(str(folder))
    (folder / "x").rename(folder / "y")
    second = digests.digest(str(folder))
    assert first != second


def test_digest_of_a_url_leaves_secrets_out(tmp_path: Path) -> None:
    digests = FileDigests(tmp_path / "cache.json")
    one = digests.digest("https://host/a.tif?sig=SECRET1")
    assert one == digests.digest("https://user:pw@host/a.tif?sig=SECRET2")
    assert one != digests.digest("https://host/b.tif")


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.tif"):
        FileDigests(tmp_path / "c").digest(str(tmp_path / "nowhere.tif"))


def _hold(root: str, ready: object, release: object) -> None:
    with workspace_lock(Path(root)):
        ready.set()  # type: ignore[attr-defined]
        release.wait(30)  # type: ignore[attr-defined]


def test_the_lock_names_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(str(tmp_path), ready, release))
    process.start()
    assert ready.wait(30)
    with pytest.raises(WorkspaceLockedError, match=str(process.pid)) as caught, workspace_lock(tmp_path):
        pass
    assert caught.value.exit_code == 5
    process.kill()
    process.join()
    with workspace_lock(tmp_path):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
