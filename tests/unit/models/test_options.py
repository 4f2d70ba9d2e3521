"""Options beyond the defaults that change a network's shape: each builds, runs, and lets gradients through."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from landcover_cli import registry
from models.batch import Modality
from models.spec import Port

FREE = Port("s2", "series", ("a", "b"), 10.0, "1")
IMAGE = Port("image", "image", ("a", "b", "c"), 10.0, "1")
CASES = [
    ("fcn3d", FREE, {"head": "mean"}),
    ("stsnet_temporal", FREE, {"head": "mean"}),
    ("stsnet_spectral", IMAGE, {"gates": "first"}),
    ("stsnet_spectral", IMAGE, {"decoder": "sum"}),
    ("scene_resnet", IMAGE, {"per": "scene"}),
    ("scene_resnet", IMAGE, {"bottleneck": True}),
    ("convlstm", FREE, {"kernel": 5}),
]


def item(port: Port, size: int = 18) -> Modality:
    dates = 1 if port.kind == "image" else 5
    doy = torch.arange(1, dates + 1).mul(20).expand(2, dates) * (port.kind == "series")
    generator = torch.Generator().manual_seed(0)
    valid = torch.rand(2, dates, size, size, generator=generator) > 0.2
    data = torch.randn(2, dates, len(port.bands), size, size, generator=generator)
    return Modality(data, valid, doy, doy - doy[:, :1], valid.flatten(2).any(-1))


@pytest.mark.parametrize(("name", "port", "options"), CASES, ids=[f"{n}-{next(iter(o))}" for n, _, o in CASES])
def test_option(name: str, port: Port, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    plugin = registry.load("model", name)
    network = plugin((port,), 3, **(plugin.TINY | options)).train()
    given = item(port)
    logits = network({port.name: given})
    assert logits.shape[:2] == (2, 3)
    assert logits.shape[2:] == ((1, 1) if options.get("per") == "scene" else (18, 18))
    logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    if port.kind == "series":  # T is free: padding says nothing, wherever it stands
        network.eval()
        padded = Modality(*(torch.cat([torch.zeros_like(x[:, :2]), x], 1) for x in given))
        with torch.inference_mode():
            torch.testing.assert_close(network({port.name: padded}), network({port.name: given}), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "ports", "options", "said"),
    [
        ("tsvit", (FREE,), {"block_px": 9}, "no multiple"),
        ("stsnet_spectral", (IMAGE,), {"widths": [1, 2]}, "give four"),
        ("stsnet", (IMAGE,), {}, "one image and one series"),
        ("multibranch", (FREE,), {"mode": "spatial"}, "temporal or literal"),
        ("scene_resnet", (IMAGE,), {"per": "patch"}, "pixel or scene"),
        ("hrnet", (FREE,), {}, "fixed number of dates"),
        ("convgru", (IMAGE,), {}, "exactly one series"),
        ("reconstruct", (FREE,), {"backbone": "unet"}, "choose from"),
    ],
)
def test_what_a_network_cannot_take_is_said(
    name: str, ports: tuple[Port, ...], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        registry.load("model", name)(ports, 3, **options)
