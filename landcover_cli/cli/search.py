"""`lc search`: a pinned list of scenes from a STAC API or a static catalogue."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landcover_cli.cli import options
from landcover_cli.errors import UsageError

if TYPE_CHECKING:
    from landcover_cli.io.scenelist import SceneList
    from landcover_cli.io.stac_search import Found, Query
    from landcover_cli.io.web import Web

log = logging.getLogger("lc")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("search")(search)


def search(
    catalogue: Annotated[
        str,
        typer.Argument(
            help="earth-search, planetary-computer, cdse; or URL or path of a STAC API, catalogue or item collection."
        ),
    ],
    aoi: Annotated[Path, typer.Option(help="Polygon file.")],
    start: Annotated[str, typer.Option(help="First day or month: 2021-06-01 or 2021-06.")],
    end: Annotated[str, typer.Option(help="Last day or month, included.")],
    out: options.Out,
    collection: Annotated[
        list[str] | None,
        typer.Option(help="Id of a collection; may be repeated; default: sentinel-2-l2a of the named providers."),
    ] = None,
    max_cloud: Annotated[
        float, typer.Option(min=0, max=100, help="Scenes above this cloud share (metadata) are left out.")
    ] = 100.0,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Scenes over an area between two days, as a GeoJSON item collection: sorted, one item per acquisition."""
    from landcover_cli.config.place import PeriodConfig
    from landcover_cli.io.scenelist import pin, write_list
    from landcover_cli.io.stac_search import COLLECTION, PROVIDERS, Query, search_stac
    from landcover_cli.io.vector import read_aoi

    first, after = PeriodConfig(start=start, end=end).span()
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder", remedy="give the file that the list is written to")
    names = tuple(collection or ([COLLECTION] if catalogue in PROVIDERS else []))
    query = Query(names, read_aoi(aoi).geometry_4326, first, _day_before(after), max_cloud)
    found = search_stac(catalogue, query, _client(PROVIDERS.get(catalogue, catalogue)))
    scenes = pin(found.items)
    for old, new in scenes.replaced.items():
        log.info("%s: left out for its newer processing %s", old, new)
    if not scenes.items:
        log.warning("%s", _nothing(catalogue, query, found, aoi))
    if not dry_run:
        write_list(out, scenes.items, _about(catalogue, query))
    _report(scenes, found, out, dry_run, as_json)


def _day_before(day: Any) -> Any:
    from datetime import timedelta

    return day - timedelta(days=1)


def _client(href: str) -> Web:
    from landcover_cli.io.web import Web

    return Web(base_url=href if "://" in href else None)


def _about(catalogue: str, query: Query) -> dict[str, Any]:
    """What decides the list; an address without its query, a path by its name alone."""
    from landcover_cli.io.web import public_url

    return {
        "catalogue": public_url(catalogue) if "://" in catalogue else Path(catalogue).name,
        "collections": list(query.collections),
        "bbox": [round(edge, 6) for edge in query.area.bounds],
        "start": query.start.isoformat(),
        "end": query.end.isoformat(),
        "max_cloud_percent": query.max_cloud_percent,
    }


def _nothing(catalogue: str, query: Query, found: Found, aoi: Path) -> str:
    from landcover_cli.io.web import public_url

    where = public_url(catalogue) if "://" in catalogue else catalogue
    seen = f"{found.elsewhere} scenes of other places or days, {found.cloudy} above {query.max_cloud_percent:g} % cloud"
    return f"no scene of {', '.join(query.collections) or where} over {aoi} from {query.start} to {query.end} ({seen})"


def _report(scenes: SceneList, found: Found, out: Path, dry_run: bool, as_json: bool) -> None:
    rows = [
        {
            "id": item["id"],
            "datetime": item["properties"].get("datetime") or item["properties"].get("start_datetime"),
            "cloud_percent": item["properties"].get("eo:cloud_cover"),
        }
        for item in scenes.items
    ]
    if as_json:
        record = {"out": None if dry_run else str(out), "scenes": rows, "replaced": dict(scenes.replaced)}
        typer.echo(json.dumps(record | {"cloudy": found.cloudy}, ensure_ascii=False))
        return
    for row in rows:
        cloud = "" if row["cloud_percent"] is None else f"{row['cloud_percent']:5.1f} % cloud"
        typer.echo(f"{str(row['datetime'])[:19]}  {cloud:>13}  {row['id']}")
    dropped = f"; left out: {len(scenes.replaced)} older processings, {found.cloudy} too cloudy"
    typer.echo(f"{len(rows)} scenes{'' if dry_run else f' in {out}'}{dropped}")
