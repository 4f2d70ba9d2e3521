"""The delivered files of a map: COGs, side files, legend and STAC item, in one folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landcover_cli.core.digest import pretty_json, sha256_json
from landcover_cli.errors import InputError
from landcover_cli.io.cog import write_cog
from landcover_cli.io.maplayers import PROBABILITY_SCALE, MapFacts, map_layers, tagged
from landcover_cli.io.mosaic import area_box, mosaic
from landcover_cli.io.pam import write_class_pam
from landcover_cli.io.qml import class_style, ramp_style, write_style
from landcover_cli.io.stac_out import map_item
from landcover_cli.io.tilewriter import Layer

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


def write_map(
    folder: Path,
    facts: MapFacts,
    tiles: Mapping[str, Sequence[Path]],
    geometry: BaseGeometry,
    geometry_4326: BaseGeometry,
    threads: int = 1,
) -> dict[str, Any]:
    """Write a map cut to an area (pixel centres inside) from its tiles.

    Writes ``<name>_class.tif``, ``_confidence.tif``, ``_validity.tif`` (and ``_probabilities.tif``), each a COG, their
    ``.qml``, ``<name>_class.tif.aux.xml``, ``legend.json`` and ``item.json``.

    Args:
        folder: Target; the caller publishes it whole.
        facts: Where the map comes from.
        tiles: Layer name → rasters of that layer on the grid's lattice.
        geometry: The area, in the grid's CRS.
        geometry_4326: The same in longitude and latitude.
        threads: Threads for compression; changes no byte.

    Returns:
        Pixels of the area, pixels that were mapped, and the run digest.

    Raises:
        InputError: A tile is damaged; the area holds no pixel; nothing in it was observed.
        StorageError: The disk is full.
    """
    box = area_box(geometry, facts.gsd_m)
    layers = {
        name: tagged(layer, name, facts)
        for name, layer in map_layers(facts.legend, facts.validity, facts.probabilities).items()
    }
    scratch = folder / ".mosaic"
    scratch.mkdir(parents=True)
    try:
        found = {
            name: mosaic(tiles[name], scratch / f"{name}.tif", box, facts.gsd_m, facts.crs, layer, geometry)
            for name, layer in layers.items()
        }
        if not found["class"].valid_px:
            raise InputError(
                f"nothing in the area of {facts.name!r} was observed in any input: there is nothing to map",
                remedy="check that the AOI lies within the cubes, or widen the period",
            )
        run_digest = sha256_json(
            {
                "model": facts.model_digest,
                "settings": dict(facts.settings),
                "legend": facts.legend.to_dict(),
                "period": facts.period,
                "pixels": {name: item.digest for name, item in found.items()},
            }
        )
        files = {
            name: (_cog(scratch / f"{name}.tif", folder / f"{facts.name}_{name}.tif", name, run_digest, threads), layer)
            for name, layer in layers.items()
        }
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    extras = _side_files(folder, facts, files)
    item = map_item(facts, box, geometry_4326, files, extras, run_digest)
    (folder / "item.json").write_text(pretty_json(item), encoding="utf-8")
    area, mapped = found["class"].inside_px, found["class"].valid_px
    return {"area_px": area, "mapped_px": mapped, "run_digest": run_digest, "item": item["id"]}


def _cog(source: Path, target: Path, name: str, run_digest: str, threads: int) -> Path:
    import rasterio

    with rasterio.open(source, "r+") as raster:
        raster.update_tags(LC_RUN_DIGEST=run_digest)
    write_cog(source, target, categorical=name == "class", threads=threads)
    source.unlink()
    return target


def _side_files(folder: Path, facts: MapFacts, files: Mapping[str, tuple[Path, Layer]]) -> dict[str, Path]:
    legend = folder / "legend.json"
    document = facts.legend.to_dict()
    for index, entry in enumerate(document["classes"]):
        entry["index"] = index
    legend.write_text(pretty_json({**document, "nodata_index": facts.legend.nodata}), encoding="utf-8")
    class_map = files["class"][0]
    extras = {
        "legend": legend,
        "class_pam": write_class_pam(class_map, facts.legend),
        "class_style": write_style(class_map, class_style(facts.legend)),
    }
    # QGIS applies a band's scale before its style.
    for name, high in (("confidence", 250 * PROBABILITY_SCALE), ("validity", 30.0)):
        extras[f"{name}_style"] = write_style(files[name][0], ramp_style(0.0, high, ""))
    return extras
