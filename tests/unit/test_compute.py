"""Executors: the serial one is the oracle."""

from __future__ import annotations

import os

import pytest

from landcover_cli.compute import open_executor
from landcover_cli.errors import ConfigError, InputError, LcError


def square(value: int) -> int:
    if value == 3:
        raise InputError("three", remedy="take two")
    return value * value


def die(value: int) -> int:
    os._exit(9)


@pytest.mark.parametrize("kind", ["serial", "threads", "processes", "dask"])
def test_every_executor_gives_the_same_outcomes(kind: str) -> None:
    with open_executor(kind, 2) as executor:
        outcomes = {outcome.index: outcome for outcome in executor.run(square, [1, 2, 3, 4])}
    assert [outcomes[index].value for index in range(4)] == [1, 4, None, 16]
    error = outcomes[2].error
    assert isinstance(error, InputError)
    assert error.remedy == "take two"


def test_a_dead_worker_is_an_error_not_a_hang() -> None:
    with open_executor("processes", 1) as executor:
        outcomes = list(executor.run(die, [1]))
    assert isinstance(outcomes[0].error, LcError)
    assert "died" in str(outcomes[0].error)


def test_unknown_kind_and_unreachable_scheduler() -> None:
    with pytest.raises(ConfigError, match="slurm"), open_executor("slurm", 1):
        pass
    with pytest.raises(InputError, match="no Dask scheduler"), open_executor("dask", 1, "tcp://127.0.0.1:1"):
        pass
