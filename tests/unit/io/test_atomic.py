"""Outputs appear whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from landcover_cli.errors import InputError, StorageError
from landcover_cli.io.atomic import atomic_file, atomic_folder, is_storage_error


def test_success_renames(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "a" / "x.txt") as scratch:
        scratch.write_text("hello")
        assert not (tmp_path / "a" / "x.txt").exists()
    assert (tmp_path / "a" / "x.txt").read_text() == "hello"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["x.txt"]


def test_failure_leaves_the_old_file_and_no_scratch(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(target) as scratch:
        scratch.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="disk is full"), atomic_file(tmp_path / "x") as scratch:
        scratch.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_an_unwritable_parent_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((StorageError, OSError)), atomic_file(tmp_path / "file" / "x") as scratch:
        scratch.write_text("")


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "out") as scratch:
        (scratch / "a").write_text("1")
    assert (tmp_path / "out" / "a").read_text() == "1"
    with pytest.raises(InputError, match="exists already"), atomic_folder(tmp_path / "out"):
        pass
    with atomic_folder(tmp_path / "out", replace=True) as scratch:
        (scratch / "b").write_text("2")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["b"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_failed_folder_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "out") as scratch:
        (scratch / "a").write_text("1")
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_wrapped_disk_errors_are_recognised() -> None:
    assert is_storage_error(RuntimeError("TIFFAppendToStrip: No space left on device"))
    assert not is_storage_error(ValueError("no such band"))
