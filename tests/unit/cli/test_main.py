"""The command line: start-up, exit codes, messages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from landcover_cli.cli import app as cli_app

LC = [sys.executable, "-c", "from landcover_cli.cli.main import main; main()"]
HEAVY = ("torch", "dask", "distributed", "rasterio", "numba", "scipy", "xarray", "zarr", "geopandas", "pandas")


def lc(*args: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LC, *args],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
        check=False,
        env={**os.environ, **(env or {})},
    )


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['lc', '--help']\n"
        "from landcover_cli.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout


def test_help_answers_in_half_a_second_of_cpu() -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert lc("--help").returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= 0.5


@pytest.mark.parametrize("group", cli_app.GROUPS)
def test_every_group_has_help(group: str) -> None:
    done = lc("--help")
    assert done.returncode == 0
    assert not done.stderr


def test_usage_mistakes_exit_with_2() -> None:
    assert lc("run").returncode == 2
    assert lc("nonsense").returncode == 2
    done = lc("run", "nowhere.yaml")
    assert done.returncode == 2
    assert "nowhere.yaml" in done.stderr
    assert "remedy" in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback() -> None:
    assert "Traceback" in lc("--debug", "run", "nowhere.yaml").stderr


def test_unknown_kind_of_plugin() -> None:
    done = lc("plugins", "colour")
    assert done.returncode == 2
    assert "speckle" in done.stderr


def test_a_foreign_models_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("x = 1\n")
    done = lc("doctor", cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 3
    assert str(tmp_path / "models") in done.stdout


def test_config_schema_is_json() -> None:
    import json

    assert "properties" in json.loads(lc("config", "schema").stdout)
