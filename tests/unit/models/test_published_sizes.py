"""Every network at the configuration that its source gives figures for; nothing is allocated (meta device)."""

from __future__ import annotations

import pytest
import torch

from landcover_cli import registry

REFERENCES = {
    name: network.REFERENCE
    for name in registry.names("model")
    if hasattr(network := registry.load("model", name), "REFERENCE")
}
COUNTED = [name for name, reference in REFERENCES.items() if reference.parameters is not None]


@pytest.mark.parametrize("name", COUNTED)
def test_number_of_parameters(name: str) -> None:
    reference = REFERENCES[name]
    with torch.device("meta"):
        network = registry.load("model", name)(reference.ports, reference.n_classes, **reference.options)
    found = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert abs(found - reference.parameters) <= reference.tolerance * reference.parameters, found
