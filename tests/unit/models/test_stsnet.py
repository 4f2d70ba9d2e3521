"""STSNet: sizes of its fusions, α, every form, and the published shape end to end."""

from __future__ import annotations

import pytest
import torch

from models._fusions import FUSIONS, Direct, Weights
from models._recurrent import ConvLSTM
from models._windows3d import WindowAttention
from models.batch import Modality
from models.spec import Port
from models.stsnet import Model, sample_cells
from models.stsnet_spectral import Model as Spectral
from models.stsnet_temporal import Model as Temporal

IMAGE = Port("image", "image", ("a", "b", "c"), 1.0, "reflectance")
SERIES = Port("series", "series", ("k", "l"), 10.0, "reflectance", optional=True)


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def modality(channels: int, dates: int, edge: int) -> Modality:
    valid = torch.ones(1, dates, edge, edge, dtype=torch.bool)
    doy = torch.arange(1, dates + 1).view(1, -1) * (dates > 1)
    return Modality(torch.randn(1, dates, channels, edge, edge), valid, doy, doy - doy[:, :1], valid.flatten(2).any(-1))


def test_fusions_have_the_published_differences() -> None:
    with torch.device("meta"):
        sizes = {name: count(kind(512, 0.01)) for name, kind in FUSIONS.items()}
    assert sizes["direct"] == 0
    assert sizes["weights"] == 6_818_816
    assert sizes["mse"] == 131_072


@pytest.mark.parametrize("fusion", sorted(FUSIONS))
def test_every_fusion_trains(fusion: str) -> None:
    torch.manual_seed(0)
    network = Model((IMAGE, SERIES), 3, **(Model.TINY | {"fusion": fusion})).train()
    logits = network({"image": modality(3, 1, 80), "series": modality(2, 8, 8)})
    assert logits.shape == (1, 3, 80, 80)
    logits.square().mean().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("options", [{"weights": "equation"}, {"gates": "first"}, {"decoder": "sum"}])
def test_forms_of_the_text(options: dict[str, str]) -> None:
    torch.manual_seed(0)
    network = Model((IMAGE, SERIES), 3, **(Model.TINY | options)).train()
    logits = network({"image": modality(3, 1, 44), "series": modality(2, 3, 5)})
    assert logits.shape == (1, 3, 44, 44)


@pytest.mark.parametrize(("gsd_m", "alpha"), [(10.0, 1 / 100), (30.0, 1 / 900)])
def test_alpha_follows_the_pixel_sizes(gsd_m: float, alpha: float) -> None:
    series = Port("series", "series", ("k",), gsd_m, "reflectance")
    assert Model((IMAGE, series), 3, **Model.TINY).fusion.alpha == pytest.approx(alpha)
    assert Model((IMAGE, series), 3, alpha=0.5, **Model.TINY).fusion.alpha == 0.5


def test_a_series_that_observed_nothing_leaves_the_image_as_it_is() -> None:
    fine, coarse = torch.randn(2, 8, 3, 3), torch.randn(2, 8, 3, 3)
    for fusion in (Weights(8, 1.0), Direct(8, 1.0)):
        out = fusion(fine, coarse, torch.tensor([True, False]))
        assert torch.equal(out[1], fine[1])
        assert not torch.equal(out[0], fine[0])


@pytest.mark.parametrize("step", [0.8, 3.2, 1.0])
def test_the_coarse_map_is_sampled_where_the_fine_cells_lie(step: float) -> None:
    """A ramp over the ground comes back as the same ramp; 32 fine pixels per cell with 1 m and 10 m are 0.8 cells."""
    cells = torch.arange(20.0) + 0.5
    ramp = (cells[:, None] * 100 + cells[None]).view(1, 1, 20, 20)
    found = sample_cells(ramp, torch.Size((5, 6)), step)[0, 0]
    # Beyond the outermost centres (half a cell from the rim) the value of the rim stands.
    rows, columns = (((torch.arange(n) + 0.5) * step).clamp_min(0.5) for n in (5, 6))
    torch.testing.assert_close(found, rows[:, None] * 100 + columns[None], rtol=1e-5, atol=1e-3)


def test_mean_head_frees_the_number_of_dates() -> None:
    torch.manual_seed(0)
    port = Port("series", "series", ("k", "l"), 10.0, "reflectance")
    network = Temporal((port,), 3, head="mean", **Temporal.TINY).eval()
    item = modality(2, 3, 8)
    with torch.inference_mode():
        expected = network({"series": item})
        padded = Modality(*(torch.cat([x, torch.zeros_like(x[:, :2])], 1) for x in item))
        torch.testing.assert_close(network({"series": padded}), expected)
        assert network({"series": modality(2, 7, 8)}).shape == expected.shape
    with pytest.raises(ValueError, match="fixed number of dates"):
        Temporal((port,), 3, **Temporal.TINY)


def test_window_attention_looks_within_its_window_only() -> None:
    torch.manual_seed(0)
    there = torch.ones(1, 4, dtype=torch.bool)
    for shifted, seen in ((False, range(4)), (True, range(2))):
        attend = WindowAttention(4, 2, (2, 4, 4), shifted=shifted)
        x = torch.randn(1, 4, 8, 8, 4, requires_grad=True)
        attend(x, there)[0, 0, 0, 0].sum().backward()
        touched = x.grad.abs().sum(-1)[0].nonzero()
        # The first window holds 2 × 4 × 4 tokens; shifted by half, half of that on each side.
        assert set(touched[:, 1].tolist()) == set(seen)


def test_convlstm_equals_a_loop_over_the_equations() -> None:
    torch.manual_seed(0)
    cell = ConvLSTM(2, 3)
    x = torch.randn(1, 3, 2, 5, 5)
    h = c = torch.zeros(1, 3, 5, 5)
    weight = torch.cat([cell.inputs.weight, cell.state.weight], 1)
    for date in range(3):
        gates = torch.nn.functional.conv2d(torch.cat([x[:, date], h], 1), weight, cell.inputs.bias, padding=1)
        i, f, o, g = gates.chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    torch.testing.assert_close(cell(x)[:, -1], h)


def test_published_shape_passes_through_without_padding() -> None:
    """300 px → 75, 38, 19, 10, the sizes of the public code."""
    with torch.device("meta"):
        network = Spectral((IMAGE,), 8, widths=[8, 8, 8, 8])
        maps = network.encoder(torch.zeros(1, 3, 300, 300))
    assert [tuple(x.shape[-2:]) for x in maps] == [(75, 75), (38, 38), (19, 19), (10, 10)]


@pytest.mark.slow
def test_end_to_end_at_the_published_size() -> None:
    reference = Model.REFERENCE
    network = Model(reference.ports, reference.n_classes).train()
    logits = network({"hyperspectral": modality(249, 1, 300), "s2": modality(10, 31, 30)})
    assert logits.shape == (1, 8, 300, 300)
    logits.mean().backward()
    assert all(p.grad is not None for p in network.parameters())
