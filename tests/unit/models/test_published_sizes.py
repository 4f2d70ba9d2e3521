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


def test_deeplabv3plus_as_counted_elsewhere() -> None:
    """ResNet-101, 3 bands, 21 classes: the count of the common implementations of this form."""
    from models.deeplabv3plus import Model
    from models.spec import Port

    with torch.device("meta"):
        network = Model((Port("rgb", "image", ("r", "g", "b"), 1.0, "1"),), 21)
    assert sum(p.numel() for p in network.parameters()) == 59_344_309
