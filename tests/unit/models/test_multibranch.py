"""Multi-branch fusion: both modes, any subset of branches."""

from __future__ import annotations

import itertools

import pytest
import torch

from models.batch import Modality
from models.multibranch import Model
from models.spec import Port

NDVI = Port("ndvi", "series", ("ndvi",), 10.0, "1", length=4)
SAR = Port("sar", "series", ("vv", "vh"), 10.0, "gamma0_db", length=4)
POL = Port("pol", "series", ("h", "a", "alpha"), 10.0, "1", length=4)


def series(port: Port, size: int = 8) -> Modality:
    generator = torch.Generator().manual_seed(len(port.bands))
    doy = torch.arange(1, 5).mul(60).expand(2, 4)
    valid = torch.ones(2, 4, size, size, dtype=torch.bool)
    valid[..., 0, 0] = False  # one pixel was never seen
    data = torch.randn(2, 4, len(port.bands), size, size, generator=generator)
    return Modality(data, valid, doy, doy - 60, valid.flatten(2).any(-1))


@pytest.mark.parametrize("mode", ["temporal", "literal"])
def test_every_subset_of_branches_trains(mode: str) -> None:
    torch.manual_seed(0)
    for count in (1, 2, 3):
        for ports in itertools.combinations((NDVI, SAR, POL), count):
            network = Model(ports, 7, **(Model.TINY | {"mode": mode})).train()
            logits = network({port.name: series(port) for port in ports})
            assert logits.shape == (2, 7, 8, 8)
            logits.square().sum().backward()
            assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_literal_mode_pads_the_rim_and_ignores_padded_dates() -> None:
    torch.manual_seed(0)
    network = Model((SAR,), 3, **(Model.TINY | {"mode": "literal"})).eval()
    item = series(SAR, 11)
    with torch.inference_mode():
        logits = network({"sar": item})
        assert logits.shape == (2, 3, 11, 11)
        padded = Modality(*(torch.cat([torch.zeros_like(x[:, :1]), x], 1) for x in item))
        torch.testing.assert_close(network({"sar": padded}), logits)


def test_literal_mode_needs_a_length() -> None:
    with pytest.raises(ValueError, match="fixed number of dates"):
        Model((Port("sar", "series", ("vv",), 10.0, "1"),), 3, mode="literal")


def test_chunks_change_neither_logits_nor_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for chunk in (1 << 17, 37):
        monkeypatch.setattr("models.multibranch._CHUNK_TOKENS", chunk)
        torch.manual_seed(0)
        network = Model((SAR,), 3, **Model.TINY)
        logits = network({"sar": series(SAR)})
        logits.square().sum().backward()
        found.append((logits.detach(), [p.grad for p in network.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)
