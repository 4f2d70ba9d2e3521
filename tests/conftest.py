"""Shared fixtures: where the real scenes are, and settings that make property tests repeatable."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "lc", derandomize=True, deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("lc")

DATA = Path(os.environ.get("LC_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Path of a real data set by its name; skips where it is absent, fails under CI=true."""

    def find(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            message = f"real data {name!r} not found below {DATA} (set LC_TEST_DATA)"
            if os.environ.get("CI") == "true":
                pytest.fail(message)
            pytest.skip(message)
        return path

    return find
