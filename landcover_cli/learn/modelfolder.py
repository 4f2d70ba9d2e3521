"""The model folder: weights as safetensors beside a JSON description; nothing in it can run code.

``model.json`` holds ``format``, ``spec`` (`ModelSpec`), ``weights`` (file, sha256, number of parameters) and
``provenance`` (what it was trained on). Reading the description loads no torch.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landcover_cli.core.digest import pretty_json, sha256_json
from landcover_cli.errors import ConfigError, InputError
from landcover_cli.registry import load
from models.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "ModelSpec",
    "build_model",
    "load_model",
    "model_digest",
    "read_description",
    "read_spec",
    "resolve_options",
    "save_model",
]

FORMAT = 1
WEIGHTS = "weights.safetensors"
DESCRIPTION = "model.json"


def resolve_options(model: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a network with its defaults filled in, so that a later default changes no old model.

    Raises:
        ConfigError: Unknown network, or an option that it does not have.
    """
    parameters = list(inspect.signature(load("model", model)).parameters.values())[2:]
    known = {p.name: p.default for p in parameters if p.kind not in {p.VAR_KEYWORD, p.VAR_POSITIONAL}}
    unknown = sorted(set(options) - set(known))
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        raise ConfigError(
            f"network {model!r} has no option {unknown[0]!r}", remedy=f"options: {', '.join(known) or 'none'}"
        )
    merged = {name: value for name, value in known.items() if value is not inspect.Parameter.empty} | dict(options)
    return dict(json.loads(json.dumps(merged)))  # tuples become lists, as they will be when read back


def build_model(spec: ModelSpec) -> nn.Module:
    """The network of a spec, with fresh weights.

    Raises:
        ConfigError: Unknown network or options it does not take.
    """
    network = load("model", spec.model)
    options = resolve_options(spec.model, spec.options)
    try:
        return network(spec.ports, len(spec.classes), **options)  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"network {spec.model!r} with options {options} and ports "
            f"{', '.join(f'{p.name} ({p.kind})' for p in spec.ports)}: {error}",
            remedy="see `lc models show` for its options and inputs",
        ) from error


def save_model(
    folder: Path, spec: ModelSpec, state_dict: Mapping[str, Tensor], *, provenance: Mapping[str, Any] | None = None
) -> None:
    """Write ``weights.safetensors`` and ``model.json`` into a folder (made if absent).

    Args:
        folder: Target; the caller publishes it atomically.
        spec: Description of the network.
        state_dict: Weights; moved to the CPU and made contiguous.
        provenance: JSON-able facts on the training (data digest, settings, seed); nothing of time, host or run.
    """
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state_dict.items()}
    # `metadata` says the framework; without it some readers refuse the file.
    blob = save(tensors, metadata={"format": "pt"})
    (folder / WEIGHTS).write_bytes(blob)
    description = {
        "format": FORMAT,
        "spec": spec.to_dict(),
        "weights": {
            "file": WEIGHTS,
            "sha256": hashlib.sha256(blob).hexdigest(),
            "parameters": sum(tensor.numel() for tensor in tensors.values() if tensor.is_floating_point()),
        },
        "provenance": dict(provenance or {}),
    }
    (folder / DESCRIPTION).write_text(pretty_json(description), encoding="utf-8")


def read_description(folder: Path) -> dict[str, Any]:
    """The whole of ``model.json``.

    Raises:
        InputError: No model folder, not JSON, or a format of a newer version.
    """
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"model folder {folder}: {DESCRIPTION}: {error.strerror or error}",
            remedy="give the folder that `lc train` wrote",
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(
            f"{path} is not valid JSON: {error}", remedy="train the model again or restore the file"
        ) from None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        found = description.get("format") if isinstance(description, dict) else None
        raise InputError(
            f"{path}: format {found!r}, this version reads {FORMAT}", remedy="use the version of lc that wrote it"
        )
    return description


def read_spec(folder: Path) -> ModelSpec:
    """The description of a model folder's network; loads no torch.

    Raises:
        InputError: As `read_description`, or fields that this version does not know.
    """
    from pydantic import TypeAdapter, ValidationError

    description = read_description(folder)
    try:
        # The dataclass' own annotations are the schema: a text where a number belongs is refused here, not met later.
        spec = TypeAdapter(ModelSpec).validate_python(description["spec"])
        for port in spec.ports:
            if not len(port.mean) == len(port.std) == len(port.bands):
                raise ValueError(
                    f"port {port.name}: {len(port.bands)} bands, {len(port.mean)} means, {len(port.std)} stds"
                )
    except (KeyError, TypeError, ValueError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else str(error)
        raise InputError(
            f"{folder / DESCRIPTION}: not a model description ({what})", remedy="use the version of lc that wrote it"
        ) from None
    return spec


def model_digest(folder: Path) -> str:
    """Hex sha256 that names the model: its spec and its weights (not its provenance).

    Raises:
        InputError: As `read_spec`.
    """
    description = read_description(folder)
    return sha256_json({"spec": description.get("spec"), "weights": _stated_digest(description)})


def _stated_digest(description: dict[str, Any]) -> str | None:
    weights = description.get("weights")
    return weights.get("sha256") if isinstance(weights, dict) else None


def load_model(folder: Path, device: str = "cpu") -> tuple[ModelSpec, nn.Module]:
    """A trained network in eval mode, on a device, with its description.

    Raises:
        InputError: Missing, truncated or altered weights; weights that do not fit the description.
        ConfigError: The network's plug-in is not installed.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as load_tensors

    spec = read_spec(folder)
    stated = _stated_digest(read_description(folder))
    path = folder / WEIGHTS
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"model folder {folder}: {WEIGHTS}: {error.strerror or error}",
            remedy="give the folder that `lc train` wrote",
        ) from None
    found = hashlib.sha256(blob).hexdigest()
    if found != stated:
        raise InputError(
            f"{path}: sha256 is {found[:12]}…, {DESCRIPTION} says {str(stated)[:12]}…",
            remedy="the weights were truncated or replaced; restore the folder or train again",
        )
    network = build_model(spec)
    try:
        network.load_state_dict(load_tensors(blob))
    except (SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{path} does not fit network {spec.model!r}: {' '.join(str(error).split())[:400]}",
            remedy="use the version of lc that wrote it",
        ) from None
    return spec, network.to(device).eval()
