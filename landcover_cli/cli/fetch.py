"""`lc fetch`: scenes of a list, and the terrain, orbits and geoid grids that they need beside themselves."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landcover_cli.cli import options
from landcover_cli.errors import UsageError

if TYPE_CHECKING:
    from landcover_cli.io.download import Progress
    from landcover_cli.io.downloadcheck import Remote
    from landcover_cli.io.web import Web

log = logging.getLogger("lc")

BaseUrl = Annotated[str, typer.Option(help="A mirror; default: the public server.", show_default=False)]
Checksums = Annotated[
    Path | None, typer.Option(help="List of checksums (sha256sum or md5sum) that the files must have.")
]
Workers = Annotated[int, typer.Option(min=1, max=16, help="Files at a time.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    group = typer.Typer(no_args_is_help=True, help="Download scenes and what they need: terrain, orbits, geoid grids.")
    group.command("scenes")(scenes)
    group.command("dem")(dem)
    group.command("orbits")(orbits)
    group.command("geoid")(geoid)
    app.add_typer(group, name="fetch")


def scenes(
    items: Annotated[
        str, typer.Argument(help="List of `lc search`, or an item, catalogue or folder of STAC items.", metavar="ITEMS")
    ],
    out: options.Out,
    bands: Annotated[
        str, typer.Option(help="Bands or layers by the sensor's or common names, separated by commas.")
    ] = "",
    asset: Annotated[list[str] | None, typer.Option(help="Key of a further asset; may be repeated.")] = None,
    sensor: Annotated[str, typer.Option(help="Sensor plug-in; default: the one that knows the assets.")] = "",
    sign: Annotated[str, typer.Option(help="Signatures: auto (Planetary Computer's blobs) or none.")] = "auto",
    workers: Workers = 4,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Rasters of scenes: DIR/<item>/<asset>.tif, and DIR/items.json, which `lc preprocess` and pipelines read."""
    from landcover_cli.io.fetch_scenes import ITEMS, Choice, choose_assets, fetch_scenes, plan_scenes
    from landcover_cli.io.stac_in import read_items

    if sign not in {"auto", "none"}:
        raise UsageError(f"--sign {sign!r} is unknown", remedy="use auto or none")
    names = tuple(name.strip() for name in bands.split(",") if name.strip())
    assets = choose_assets(read_items(items), Choice(names, tuple(asset or ()), sensor), out)
    web = _scene_client(sign)
    got: Sequence[tuple[Any, Any]]
    if dry_run:
        got = plan_scenes(assets, web, workers=workers)
    else:
        with _progress() as progress:
            got = fetch_scenes(assets, out, web, workers=workers, progress=progress)
    rows = []
    for one, file in got:
        name = f"{one.item.id}/{one.remote.target.name if one.remote else one.key}"
        rows.append({"name": name, "status": file.status if file else "local", "size": file.size if file else 0})
    _report(rows, out, as_json, **({} if dry_run else {"items": str(out / ITEMS)}))
    if not as_json and not dry_run:
        typer.echo(f"the scenes are listed in {out / ITEMS}")


def _scene_client(sign: str) -> Web:
    from landcover_cli.io.signing import BlobSigner
    from landcover_cli.io.web import Web

    web = Web()
    if sign == "auto":
        web.sign = BlobSigner(web)
    return web


def dem(
    out: options.Out,
    products: Annotated[
        list[Path] | None, typer.Argument(help="Sentinel-1 products to cover.", metavar="[PRODUCT...]")
    ] = None,
    aoi: Annotated[Path | None, typer.Option(help="Polygon file to cover.")] = None,
    source: Annotated[str, typer.Option(help="glo30, glo90 (Copernicus DEM) or srtm.")] = "glo30",
    margin: Annotated[float, typer.Option(min=0.0, max=5.0, help="Surroundings to cover, degrees of latitude.")] = 0.1,
    base_url: BaseUrl = "",
    pattern: Annotated[
        str, typer.Option(help="Path of a tile on a mirror, with {tile}, {ns} or {copernicus}.", show_default=False)
    ] = "",
    checksums: Checksums = None,
    workers: Workers = 4,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Terrain tiles over an area or over products; where no tile exists, the sea is recorded."""
    from landcover_cli.io.fetch_dem import SOURCES, fetch_tiles, find_tiles, plan_tiles, product_area, tiles_over
    from landcover_cli.io.fetchrecord import read_checksums
    from landcover_cli.io.vector import read_aoi

    if source not in SOURCES:
        raise UsageError(f"--source {source!r} is unknown", remedy=f"use {', '.join(SOURCES)}")
    if not products and aoi is None:
        raise UsageError("which area?", remedy="give products, or --aoi FILE")
    chosen, (web, base) = SOURCES[source], _client(base_url)
    areas = [read_aoi(aoi).geometry_4326] if aoi is not None else [product_area(path) for path in products or ()]
    sums = read_checksums(checksums) if checksums else {}
    found = find_tiles(tiles_over(areas, margin), chosen, out, web, base_url=base, pattern=pattern, checksums=sums)
    if dry_run:
        files = plan_tiles(found, chosen, web, workers=workers)
    else:
        with _progress() as progress:
            files = fetch_tiles(found, chosen, out, web, workers=workers, progress=progress)
    withheld = [file.name for file in files if file.status == "withheld"]
    if withheld:
        log.warning("not released to the public, and no sea: %s; --source glo90 has them", ", ".join(withheld))
    _report(
        [{"name": f.name, "status": f.status, "size": f.size} for f in files],
        out, as_json, heights=chosen.datum,
    )  # fmt: skip
    if not as_json and not dry_run:
        typer.echo(f"use it with --dem {out} --dem-height {chosen.datum}")


def orbits(
    products: Annotated[
        list[str], typer.Argument(help="Sentinel-1 products, or their bare names.", metavar="PRODUCT...")
    ],
    out: options.Out,
    kind: Annotated[str, typer.Option(help="auto (POEORB, else RESORB), poeorb or resorb.")] = "auto",
    base_url: BaseUrl = "",
    layout: Annotated[str, typer.Option(help="Of the server: bucket, or folders (POEORB/S1A/2021/01/).")] = "bucket",
    checksums: Checksums = None,
    workers: Workers = 4,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """The orbit file of each product: the precise one if there is one, else the restituted one."""
    from landcover_cli.io.fetch_orbits import BASE_URL, LAYOUTS, acquisition_of, choose_orbits, kinds_of, orbit_remote
    from landcover_cli.io.fetchrecord import read_checksums

    if layout not in LAYOUTS:
        raise UsageError(f"--layout {layout!r} is unknown", remedy=f"use {' or '.join(LAYOUTS)}")
    if layout == "folders" and not base_url:
        raise UsageError("--layout folders: of which server?", remedy="give it with --base-url")
    kinds, (web, base) = kinds_of(kind), _client(base_url)
    acquisitions = [acquisition_of(product) for product in products]
    offers = choose_orbits(acquisitions, web, base_url=base or BASE_URL, layout=layout, kinds=kinds)  # type: ignore[arg-type]
    sums = read_checksums(checksums) if checksums else {}
    _bring([orbit_remote(offer, acquisitions, out, sums) for offer in offers], web, out, workers, dry_run, as_json)


def geoid(
    name: Annotated[
        list[str] | None, typer.Option(help="egm2008 (Copernicus DEM) or egm96 (SRTM); may be repeated; default: both.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder; default: PROJ's own for this user.")] = None,
    base_url: BaseUrl = "",
    checksums: Checksums = None,
    workers: Workers = 2,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """PROJ's geoid grids, where `lc` and every other user of PROJ finds them."""
    from landcover_cli.io.fetch_geoid import BASE_URL, geoid_remotes, user_folder
    from landcover_cli.io.fetchrecord import read_checksums
    from landcover_cli.io.geoid import GRID_FILES

    web, base = _client(base_url)
    sums = read_checksums(checksums) if checksums else {}
    folder = out or user_folder()
    remotes = geoid_remotes(name or list(GRID_FILES), folder, web, base_url=base or BASE_URL, checksums=sums)
    _bring(remotes, web, folder, workers, dry_run, as_json, record=out is not None)


def _client(base_url: str) -> tuple[Web, str]:
    from landcover_cli.io.web import Web, check_base_url

    base = check_base_url(base_url) if base_url else ""
    return Web(base_url=base or None), base


def _bring(
    remotes: Sequence[Remote], web: Web, out: Path, workers: int, dry_run: bool, as_json: bool, *, record: bool = True
) -> None:
    from landcover_cli.io.download import fetch_all, plan_all
    from landcover_cli.io.fetchrecord import write_record

    if dry_run:
        plans = plan_all(remotes, web, workers=workers)
        _report([{"name": p.name, "status": p.status, "size": p.size} for p in plans], out, as_json)
        return
    with _progress() as progress:
        got = fetch_all(remotes, web, workers=workers, progress=progress)
    if record:
        write_record(out, [{"name": f.name, "sha256": f.sha256, "size": f.size, "source": f.source} for f in got])
    _report([{"name": f.name, "status": f.status, "size": f.size} for f in got], out, as_json)


@contextmanager
def _progress() -> Iterator[Progress]:
    from landcover_cli.cli.progress import reporter

    with reporter() as watch:
        arrived = 0

        def told(count: int) -> None:
            nonlocal arrived
            arrived += count
            watch.within(arrived, 0, f"{arrived / 1e6:,.1f} MB")

        yield told


def _report(files: list[dict[str, Any]], out: Path, as_json: bool, **more: str) -> None:
    to_come = [file["size"] for file in files if file["status"] == "to fetch"]
    total = sum(size or 0 for size in to_come)
    if as_json:
        record = {"out": str(out), "files": files, "bytes_to_fetch": total, **more}
        typer.echo(json.dumps(record, ensure_ascii=False))
        return
    for file in files:
        size = "?" if file["size"] is None else f"{file['size']:,}"
        typer.echo(f"{file['status']:<9} {size:>15} B  {file['name']}")
    if to_come:
        unknown = sum(size is None for size in to_come)
        typer.echo(f"{total:,} bytes to fetch" + (f", and {unknown} files of unknown size" if unknown else ""))
