"""A trained network as an ONNX file, checked against the network in onnxruntime before it gets its name.

The graph takes, per input, ``<name>_data`` ``[B, T, C, h, w]`` float32 (normalised), ``<name>_valid`` ``[B, T, h, w]``
bool, ``<name>_doy`` and ``<name>_day`` ``[B, T]`` int64 and ``<name>_present`` ``[B, T]`` bool, as `models.batch` has
them, and gives ``logits`` ``[B, K, H, W]`` on the output grid, before the temperature. B, and T of series, are free;
pixels are those of the training patch. What normalisation needs stands in the file's metadata (``lc.spec``).
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landcover_cli.core.digest import canonical_json
from landcover_cli.errors import InputError, LcError, UsageError
from landcover_cli.io.atomic import atomic_file
from landcover_cli.learn.modelfolder import load_model, model_digest
from landcover_cli.learn.objective import logits_on_grid
from models.batch import Modality
from models.spec import ModelSpec, Port

__all__ = ["export_onnx", "flat_inputs"]

_TOLERANCE = 1e-3
"""Greatest difference of logits: float32 sums in another order; a wrong graph is off by tenths."""


class _Flat(nn.Module):
    """A network whose inputs are plain tensors."""

    def __init__(self, network: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.network, self.edge = network, spec.patch_px
        self.names = [port.name for port in spec.ports]

    def forward(self, *tensors: Tensor) -> Tensor:
        """Logits on the output grid."""
        width = len(Modality._fields)
        inputs = {
            name: Modality(*tensors[width * position : width * (position + 1)])
            for position, name in enumerate(self.names)
        }
        return logits_on_grid(self.network(inputs), (self.edge, self.edge))


def export_onnx(folder: Path, target: Path) -> dict[str, Any]:
    """Write the network of a model folder as ONNX.

    Args:
        folder: Model folder.
        target: File; it appears only after its logits were found to be the network's.

    Returns:
        ``{"inputs": [...], "difference": greatest difference of logits in the check, "bytes": size}``.

    Raises:
        UsageError: The extra packages are not installed.
        InputError: No model folder; a network that ONNX has no words for.
        LcError: The exported graph gives other logits.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"export to ONNX needs the package {error.name!r}", remedy='pip install "landcover-cli[export]"'
        ) from None
    spec, network = load_model(folder)
    flat = _Flat(network, spec).eval()
    blob = _graph(flat, spec, model_digest(folder))
    found, difference = _difference(blob, flat, spec)
    if not difference <= _TOLERANCE:
        raise LcError(
            f"the ONNX graph of {spec.model!r} gives logits that are off by {difference:g} (at most {_TOLERANCE:g})",
            remedy="use the model folder as it is, and report the network",
        )
    with atomic_file(target) as scratch:
        scratch.write_bytes(blob)
    return {"inputs": found, "difference": difference, "bytes": len(blob)}


def flat_inputs(spec: ModelSpec, batch: int, dates: int, seed: int = 0) -> dict[str, Tensor]:
    """Random inputs of a network by the names that the graph has for them; a third of the pixels is invalid."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for port in spec.ports:
        length = _length(port, dates)
        edge = round(spec.patch_px * spec.gsd_m / port.gsd_m)
        valid = torch.rand(batch, length, edge, edge, generator=generator) > 1 / 3
        day = torch.arange(length).mul(365 // length).expand(batch, length).clone()
        doy = day + 1 if port.kind == "series" else torch.zeros_like(day)
        data = torch.randn(batch, length, len(port.bands), edge, edge, generator=generator)
        item = Modality(data, valid, doy, day, valid.flatten(2).any(-1))
        tensors |= {f"{port.name}_{field}": tensor for field, tensor in item._asdict().items()}
    return tensors


def _length(port: Port, dates: int) -> int:
    return 1 if port.kind == "image" else port.length or dates


def _graph(flat: nn.Module, spec: ModelSpec, digest: str) -> bytes:
    """The serialised graph, without what hangs on the machine that made it.

    Raises:
        InputError: An operation that the exporter does not know.
    """
    example = flat_inputs(spec, batch=2, dates=3)
    free = {"batch": torch.export.Dim("batch", min=1, max=4096)}
    shapes: list[dict[int, Any]] = []
    for port in spec.ports:
        shape = {0: free["batch"]}
        if port.kind == "series" and port.length is None:
            shape[1] = torch.export.Dim(f"dates_{port.name}", min=1, max=4096)
        shapes += [shape] * len(Modality._fields)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it lists optional packages that are absent
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                flat,
                tuple(example.values()),
                dynamo=True,
                verbose=False,
                input_names=list(example),
                output_names=["logits"],
                dynamic_shapes=(tuple(shapes),),
            )
    except Exception as error:
        raise InputError(
            f"network {spec.model!r} cannot be written as ONNX: {' '.join(str(error).split())[:300]}",
            remedy="use the model folder as it is",
        ) from error
    assert program is not None
    proto = program.model_proto
    _strip(proto)
    proto.metadata_props.clear()
    for key, value in (("lc.spec", canonical_json(spec.to_dict())), ("lc.model", digest)):
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    return bytes(proto.SerializeToString(deterministic=True))


def _strip(proto: Any) -> None:
    """Take out traces of source files, which are paths of this machine."""
    for function in proto.functions:
        function.metadata_props.clear()
    for group in [proto.graph.node, proto.graph.value_info, proto.graph.initializer, proto.graph.input]:
        for item in group:
            item.metadata_props.clear()
            item.doc_string = ""
    for function in proto.functions:
        for node in function.node:
            node.metadata_props.clear()
            node.doc_string = ""
    proto.graph.metadata_props.clear()
    proto.graph.doc_string = proto.doc_string = ""


def _difference(blob: bytes, flat: nn.Module, spec: ModelSpec) -> tuple[list[str], float]:
    """Inputs that the graph has, and how far its logits are from the network's, for other sizes than it was made with.

    A network without fixed T is asked with more dates, and with padded ones.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(blob, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    worst = 0.0
    for batch, dates in ((1, 1), (3, 6)):
        tensors = _padded(flat_inputs(spec, batch, dates, seed=dates), spec)
        with torch.inference_mode():
            wanted = copy.deepcopy(flat)(*tensors.values()).numpy()
        (found,) = session.run(["logits"], {name: tensors[name].numpy() for name in names})
        worst = max(worst, float(np.abs(found - wanted).max()))
    return names, worst


def _padded(tensors: Mapping[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """Inputs whose last date, where there are several, is padding in the first sample."""
    found = dict(tensors)
    for port in spec.ports:
        if found[f"{port.name}_valid"].shape[1] > 1:
            for field in ("valid", "present"):
                found[f"{port.name}_{field}"][0, -1] = False
    return found
