"""Geoid grids of PROJ from its public server, or a mirror: the name, size and sha256 of each stand in its list."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import RasterioError

from landcover_cli.errors import InputError, UsageError
from landcover_cli.io.downloadcheck import Remote
from landcover_cli.io.geoid import GRID_FILES
from landcover_cli.io.web import NotThereError, Web

BASE_URL = "https://cdn.proj.org"
_LIST = "files.geojson"
_LIST_BYTES = 64 * 1024**2


def user_folder() -> Path:
    """PROJ's folder for grids of this user, where pyproj and `lc` look."""
    import pyproj.datadir as pyproj_data

    return Path(pyproj_data.get_user_data_dir(create=False))  # type: ignore[attr-defined]


def geoid_remotes(
    names: Sequence[str], out: Path, web: Web, *, base_url: str = BASE_URL, checksums: Mapping[str, str] | None = None
) -> tuple[Remote, ...]:
    """The downloads of geoid grids.

    Args:
        names: "egm96", "egm2008".
        out: Folder.
        web: The client.
        base_url: PROJ's server, or a mirror of it.
        checksums: By file name; they go before what the server's list says.

    Raises:
        UsageError: An unknown name.
        InputError: The server's list cannot be read.
    """
    for name in names:
        if name not in GRID_FILES:
            raise UsageError(f"--name {name!r} is unknown", remedy=f"use {' or '.join(GRID_FILES)}")
    listed = _listed(base_url, web)
    remotes = []
    for name in dict.fromkeys(names):
        file = GRID_FILES[name][0]
        facts, known = listed.get(file, {}), (checksums or {}).get(file, "")
        digest, size = facts.get("sha256sum"), facts.get("file_size")
        checksum = known or (f"sha256:{digest}" if isinstance(digest, str) and len(digest) == 64 else "")
        remotes.append(
            Remote(
                f"{base_url}/{file}", out / file, "GeoTIFF", size if isinstance(size, int) else None, checksum,
                check=lambda path, file=file: _check_grid(path, file),  # type: ignore[misc]
            )
        )  # fmt: skip
    return tuple(remotes)


def _listed(base_url: str, web: Web) -> dict[str, dict[str, Any]]:
    try:
        document = json.loads(web.read(f"{base_url}/{_LIST}", _LIST_BYTES))
        properties = [feature["properties"] for feature in document["features"]]
        return {str(facts["name"]): facts for facts in properties}
    except NotThereError:
        return {}  # a mirror of the grids alone
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"{base_url}/{_LIST} is not PROJ's list of grids", remedy="check --base-url, or choose another mirror"
        ) from None


def _check_grid(path: Path, name: str) -> None:
    """Every value can be decoded and is an undulation: the geoid lies within 110 m of the ellipsoid everywhere."""
    try:
        with rasterio.open(path, driver="GTiff") as grid:
            width, height = grid.bounds[2] - grid.bounds[0], grid.bounds[3] - grid.bounds[1]
            low, high = np.inf, -np.inf
            for _, window in grid.block_windows(1):
                values = grid.read(1, window=window)
                low, high = min(low, float(values.min())), max(high, float(values.max()))
    except RasterioError as error:
        raise InputError(f"{name}: cannot be read ({error})", remedy="run the same command again") from None
    if width < 359.0 or height < 179.0 or low < -120.0 or high > 120.0:
        raise InputError(
            f"{name}: no global geoid grid ({width:.0f}° × {height:.0f}°, {low:.1f} to {high:.1f} m)",
            remedy="check --base-url, or choose another mirror",
        )
