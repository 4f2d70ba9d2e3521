"""Networks of other libraries by name; skipped where the extra `encoders` is not installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from landcover_cli import registry
from landcover_cli.errors import ConfigError
from landcover_cli.learn.modelfolder import build_model, load_model, save_model
from models.batch import Modality
from models.spec import ModelSpec, Port

PORTS = (
    Port("s2", "series", ("a", "b"), 10.0, "1", mean=(0.0,) * 2, std=(1.0,) * 2, length=2),
    Port("dem", "image", ("z",), 10.0, "m", mean=(0.0,), std=(1.0,), optional=True),
)
CLASSES = tuple({"code": i, "name": str(i), "color": "#000000", "description": ""} for i in range(3))
SMALL = {
    "smp:unet:resnet18": {"options": {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}},
    "smp:deeplabv3plus:tu-resnet10t": {"options": {"decoder_channels": 16}},
    "hf:convnext": {"config": {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16]}, "decoder": 8},
    "hf:swin": {"config": {"depths": [1, 1], "num_heads": [2, 2], "embed_dim": 8, "window_size": 4}, "decoder": 8},
}


@pytest.fixture
def _libraries(request: pytest.FixtureRequest) -> None:
    """The libraries; torchvision builds for CUDA get the schemas of two operators that they lack beside a CPU torch."""
    prefix = request.node.callspec.params["name"].partition(":")[0]
    needed = {"smp": ("segmentation_models_pytorch", "timm", "torchvision"), "hf": ("transformers",)}[prefix]
    for name in needed:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed (extra `encoders`)")
    if importlib.util.find_spec("torchvision") is not None and "torchvision" not in sys.modules:
        for name, schema in {
            "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        }.items():
            try:
                torch.library.define(f"torchvision::{name}", schema)
            except RuntimeError:
                break  # the build matches and has them


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("_libraries")
@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_network_of_another_library(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = ModelSpec(name, SMALL[name], PORTS, CLASSES, {"id": "x", "version": "1"}, 10.0, 32, 4)
    network = build_model(spec).eval()
    valid = torch.rand(2, 2, 44, 50) > 0.2
    doy = torch.tensor([[30, 60], [30, 60]])
    s2 = Modality(torch.randn(2, 2, 2, 44, 50), valid, doy, doy - 30, valid.flatten(2).any(-1))
    with torch.inference_mode():
        logits = network({"s2": s2})
        assert logits.shape == (2, 3, 44, 50)
        garbage = s2._replace(data=torch.where(valid.unsqueeze(2), s2.data, torch.nan))
        torch.testing.assert_close(network({"s2": garbage}), logits)
        save_model(tmp_path, spec, network.state_dict())
        assert torch.equal(load_model(tmp_path)[1]({"s2": s2}), logits)
    network.train()({"s2": s2}).square().mean().backward()


@pytest.mark.parametrize("name", ["smp:unet:resnet18", "hf:swin"])
def test_a_missing_library_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = {"smp": "segmentation_models_pytorch", "hf": "transformers"}[name.partition(":")[0]]
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"models._{name.partition(':')[0]}", raising=False)
    with pytest.raises(ConfigError, match=library) as caught:
        registry.load("model", name)
    assert "encoders" in caught.value.remedy


def test_names_within_a_library_pass_the_plan_without_importing_it() -> None:
    before = set(sys.modules)
    registry.require("model", "smp:unet:resnet18")
    assert "segmentation_models_pytorch" not in set(sys.modules) - before
    with pytest.raises(ConfigError, match="unknown model"):
        registry.require("model", "unet:resnet18")
