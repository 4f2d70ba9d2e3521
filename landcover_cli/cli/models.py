"""`lc models`: what networks and model folders there are, what is in one, and one as ONNX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landcover_cli.cli import options
from landcover_cli.errors import InputError, LcError

if TYPE_CHECKING:
    from landcover_cli.learn.modelfolder import ModelSpec

_MAX_DEPTH = 6


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    group = typer.Typer(no_args_is_help=True, help="Networks and model folders: networks, list, show, export.")
    group.command("networks")(networks)
    group.command("list")(list_)
    group.command("show")(show)
    group.command("export")(export)
    app.add_typer(group, name="models")


def networks(as_json: options.Json = False) -> None:
    """List the networks: parameters and multiply-accumulates at the size its source gives figures for, beside these."""
    from dataclasses import asdict

    from landcover_cli import registry
    from landcover_cli.learn.networks import network_facts
    from landcover_cli.learn.networks import networks as stated

    facts = [network_facts(name) for name in stated()]
    others = sorted(set(registry.names("model")) - {fact.model for fact in facts})
    if as_json:
        typer.echo(json.dumps([asdict(fact) for fact in facts] + [{"model": name} for name in others]))
        return
    typer.echo(f"{'network':<17}{'parameters':>12}{'published':>12}{'GMACs':>10}  source")
    for fact in facts:
        published = f"{fact.published:,}" if fact.published is not None else "-"
        printed = f" (printed: {fact.printed})" if fact.printed else ""
        typer.echo(f"{fact.model:<17}{fact.parameters:>12,}{published:>12}{fact.gmacs:>10.3f}  {fact.source}{printed}")
    for name in others:
        typer.echo(f"{name:<17}{'-':>12}{'-':>12}{'-':>10}  {registry.load('model', name).SOURCE}")
    typer.echo("smp:<architecture>:<encoder>, hf:<backbone>: with the extra landcover-cli[encoders]")


def list_(
    folder: Annotated[Path, typer.Argument(help="Folder to look in, and below.", metavar="FOLDER")] = Path(),
    as_json: options.Json = False,
) -> None:
    """List the model folders in a folder: digest, network, inputs, classes, figures."""
    from landcover_cli.learn.modelfolder import DESCRIPTION, model_digest, read_spec

    if not folder.is_dir():
        raise InputError(f"{folder} is no folder", remedy="check the path")
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.rglob(DESCRIPTION)):
        if len(path.relative_to(folder).parts) > _MAX_DEPTH:
            continue
        try:
            spec, digest = read_spec(path.parent), model_digest(path.parent)
        except LcError:
            continue  # some other tool's model.json
        rows.append(
            {
                "folder": str(path.parent),
                "digest": digest,
                "model": spec.model,
                "inputs": [port.name for port in spec.ports],
                "classes": len(spec.classes),
                "gsd_m": spec.gsd_m,
                "figures": _figures(path.parent),
            }
        )
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        worth = ", ".join(f"{name} {value:.3f}" for name, value in row["figures"].items())
        typer.echo(
            f"{row['digest'][:12]}  {row['model']}  {'+'.join(row['inputs'])}  {row['classes']} classes  "
            f"{row['gsd_m']:g} m  {worth or 'no figures'}  {row['folder']}"
        )
    if not rows:
        typer.echo(f"no model folder below {folder}", err=True)


def _figures(folder: Path) -> dict[str, float]:
    """Overall accuracy and macro F1 on test patches, or else on validation patches."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        part = metrics.get("test") or metrics.get("validation") or {}
        return {name: float(part[name]) for name in ("overall_accuracy", "macro_f1") if part.get(name) is not None}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def show(
    model: Annotated[str, typer.Argument(help="Model folder, or the name of a network.", metavar="MODEL")],
    as_json: options.Json = False,
) -> None:
    """Show a model folder's inputs, classes and figures; or a network's options and their defaults."""
    from landcover_cli import registry

    folder = Path(model)
    if not folder.exists() and (model in registry.names("model") or model.startswith(("smp:", "hf:"))):
        _show_network(model, as_json)
        return
    from landcover_cli.learn.modelfolder import model_digest, read_description, read_spec

    spec, digest = read_spec(folder), model_digest(folder)
    if as_json:
        typer.echo(json.dumps({"digest": digest, "figures": _figures(folder), **read_description(folder)}))
        return
    for name, value in _facts(spec, digest, _figures(folder)):
        typer.echo(f"{name:<12}{value}")


def _facts(spec: ModelSpec, digest: str, figures: dict[str, float]) -> list[tuple[str, str]]:
    facts = [("digest", digest), ("network", f"{spec.model} ({spec.source})"), ("licence", spec.licence)]
    for port in spec.ports:
        optional = ", optional" if port.optional else ""
        facts.append(
            ("input", f"{port.name}: {port.kind}, {' '.join(port.bands)}, {port.gsd_m:g} m, {port.units}{optional}")
        )
    facts.append(("output", f"{spec.gsd_m:g} m, windows of {spec.patch_px} px, temperature {spec.temperature:g}"))
    facts += [("class", f"{item['code']} {item['name']}") for item in spec.classes]
    facts += [("figure", f"{name} {value:.3f}") for name, value in figures.items()]
    return facts


def _show_network(name: str, as_json: bool) -> None:
    from dataclasses import asdict

    from landcover_cli import registry
    from landcover_cli.learn.modelfolder import resolve_options
    from landcover_cli.learn.networks import network_facts, networks

    network = registry.load("model", name)
    facts = network_facts(name) if name in networks() else None
    if as_json:
        known = {"source": network.SOURCE, "licence": network.LICENCE, "options": resolve_options(name, {})}
        typer.echo(json.dumps({"model": name, **known, **(asdict(facts) if facts else {})}))
        return
    typer.echo(f"{name}: {network.SOURCE}; {network.LICENCE}")
    if facts is not None:
        for line in facts.inputs:
            typer.echo(f"  input {line}")
        published = f", published {facts.published:,}" if facts.published is not None else ""
        printed = f", printed {facts.printed}" if facts.printed else ""
        typer.echo(f"  parameters {facts.parameters:,}{published}{printed}")
        typer.echo(f"  GMACs {facts.gmacs:.3f} (one patch, multiply-accumulates)")
        typer.echo(f"  output {facts.output}")
    for key, value in resolve_options(name, {}).items():
        typer.echo(f"  options.{key} = {value}")


def export(
    model: Annotated[Path, typer.Argument(help="Model folder.", metavar="MODEL")],
    onnx: Annotated[Path, typer.Option("--onnx", help="File to write.")],
    as_json: options.Json = False,
) -> None:
    """Write a model's network as ONNX, checked against the network before it gets its name."""
    from landcover_cli.learn.onnx_export import export_onnx

    facts = export_onnx(model, onnx)
    if as_json:
        typer.echo(json.dumps({"onnx": str(onnx), **facts}))
        return
    typer.echo(f"{facts['bytes']:,} bytes, logits within {facts['difference']:.1e} of the network's: {onnx}")
