"""Reconstruction of missing dates, translation from SAR to optical, scenes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models import multibranch, reconstruct, sar_to_optical, scene_resnet, series_ltae
from models._backbone import Reconstructor
from models.batch import Modality
from models.spec import Port

PORT = Port("s2", "series", ("a", "b"), 10.0, "1")
SAR = Port("s1", "series", ("vv", "vh"), 10.0, "gamma0_db")


def series(dates: int = 4, size: int = 8, bands: int = 2) -> Modality:
    generator = torch.Generator().manual_seed(dates)
    doy = torch.arange(1, dates + 1).mul(60).expand(2, dates).clone()
    valid = torch.rand(2, dates, size, size, generator=generator) > 0.4
    data = torch.randn(2, dates, bands, size, size, generator=generator)
    return Modality(data, valid, doy, doy - 60, valid.flatten(2).any(-1))


@pytest.mark.parametrize(
    ("backbone", "options"), [("series_ltae", series_ltae.Model.TINY), ("multibranch", multibranch.Model.TINY)]
)
def test_both_backbones_fall_into_halves(backbone: str, options: dict[str, object]) -> None:
    torch.manual_seed(0)
    network = reconstruct.Model((PORT,), 3, backbone=backbone, options=options, layers=1, heads=2).eval()
    inputs = {"s2": series()}
    with torch.inference_mode():
        torch.testing.assert_close(
            network.backbone(inputs), network.predict(network.encode(inputs)), rtol=1e-5, atol=1e-6
        )
        assert network(inputs).shape == (2, 3, 8, 8)
        assert not torch.allclose(network(inputs), network.backbone(inputs))  # reconstruction says something


def test_reconstruction_leaves_what_is_observed_and_what_never_was() -> None:
    torch.manual_seed(0)
    network = reconstruct.Model((PORT,), 3, **reconstruct.Model.TINY).eval()
    item = series()
    item.valid[:, :, :2, :2] = False
    item.doy[:, 3] = 0  # padding
    item.valid[:, 3] = False
    with torch.inference_mode():
        before = network.encode({"s2": item})
        after = network.fill(before)
    kept = before.valid.unsqueeze(2).expand_as(before.x)
    assert torch.equal(after.x[kept], before.x[kept])
    assert not after.valid[:, 3].any()
    assert not after.valid[:, :, 0, 0].any()
    known = before.valid.any(1)
    assert after.valid[:, :3].all(1)[known].all()


def test_reconstructor_depends_on_the_day_that_is_missing() -> None:
    torch.manual_seed(0)
    fill = Reconstructor(8, layers=1, heads=2).eval()
    valid = torch.tensor([True, True, False]).view(1, 3, 1, 1)
    x = torch.randn(1, 3, 8, 1, 1)
    wanted = torch.ones_like(valid)
    from models._backbone import Features

    found = [
        fill(Features(x, valid, torch.tensor([[30, 60, day]]), (1, 1)), wanted).x[0, 2].flatten() for day in (90, 270)
    ]
    assert not torch.allclose(*found, atol=1e-3)


def test_translation_keeps_the_order_of_dates_and_ignores_padding() -> None:
    torch.manual_seed(0)
    network = sar_to_optical.Model((SAR,), 1, **sar_to_optical.Model.TINY).eval()
    item = series(5)
    order = torch.tensor([3, 0, 4, 2, 1])
    with torch.inference_mode():
        expected = network({"s1": item})
        assert expected.shape == (2, 5, 1, 8, 8)
        shuffled = network({"s1": Modality(*(x[:, order] for x in item))})
        torch.testing.assert_close(shuffled, expected[:, order])
        padded = network({"s1": Modality(*(torch.cat([torch.zeros_like(x[:, :2]), x], 1) for x in item))})
        torch.testing.assert_close(padded[:, 2:], expected)
        assert (padded[:, :2] == 0).all()
        garbage = item._replace(data=torch.where(item.valid.unsqueeze(2), item.data, torch.nan))
        torch.testing.assert_close(network({"s1": garbage}), expected)


def test_translation_learns_a_lagged_relation() -> None:
    """The optical value follows the SAR value of the date before: no date by itself tells it."""
    torch.manual_seed(0)
    network = sar_to_optical.Model((SAR,), 1, widths=[12, 12])
    item = series(6)
    item.valid[:] = True
    target = torch.roll(item.data[:, :, :1], 1, 1)
    optimiser = torch.optim.Adam(network.parameters(), 2e-2)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = (network({"s1": item}) - target).abs()[:, 1:].mean()
        loss.backward()
        assert all(p.grad is not None for p in network.parameters())
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_translation_takes_the_incomplete_optical_series_beside() -> None:
    optical = Port("ndvi", "series", ("ndvi",), 10.0, "1", optional=True)
    network = sar_to_optical.Model((SAR, optical), 1, **sar_to_optical.Model.TINY).eval()
    with torch.inference_mode():
        assert network({"s1": series(5), "ndvi": series(5, bands=1)}).shape == (2, 5, 1, 8, 8)
        assert network({"s1": series(5)}).shape == (2, 5, 1, 8, 8)
        with pytest.raises(ValueError, match="share a calendar"):
            network({"s1": series(4), "ndvi": series(5, bands=1)})


def test_one_class_per_scene() -> None:
    torch.manual_seed(0)
    ports = (Port("o", "image", ("a",), 10.0, "1"), Port("s", "image", ("b",), 10.0, "1", optional=True))
    network = scene_resnet.Model(ports, 3, per="scene", **scene_resnet.Model.TINY).eval()
    item = Modality(*(x[:, :1] for x in series(1, 32, 1)))
    with torch.inference_mode():
        assert network({"o": item, "s": item}).shape == (2, 3, 1, 1)
        unobserved = item._replace(valid=torch.zeros_like(item.valid))
        torch.testing.assert_close(network({"o": item, "s": unobserved}), network({"o": item}))


def season(samples: int, seed: int) -> tuple[Modality, Modality, torch.Tensor]:
    """Fields that green up and are cut on a day of their own, which radar sees through clouds: SAR, cloudy NDVI, NDVI.

    Six in ten dates of a field are cloudy.
    """
    generator = torch.Generator().manual_seed(seed)
    dates, size = 24, 4
    day = torch.arange(dates).float()
    start = 2 + 4 * torch.rand(samples, 1, generator=generator)
    cut = 9 + 10 * torch.rand(samples, 1, generator=generator)
    ndvi = 0.2 + 0.6 * torch.sigmoid(day - start - 2) * (day < cut)
    ndvi = ndvi[:, :, None, None, None] + 0.02 * torch.randn(samples, dates, 1, size, size, generator=generator)
    sar = torch.cat([4 * ndvi, -2 * ndvi], 2) + 0.4 * torch.randn(samples, dates, 2, size, size, generator=generator)
    clear = torch.rand(samples, dates, generator=generator) > 0.6
    doy = (torch.arange(1, dates + 1) * 15).expand(samples, dates)
    seen = clear[:, :, None, None].expand(samples, dates, size, size)
    everywhere = torch.ones_like(seen)
    return (
        Modality(sar, everywhere, doy, doy - 15, torch.ones_like(clear)),
        Modality(torch.where(seen.unsqueeze(2), ndvi, 0.0), seen, doy, doy - 15, clear),
        ndvi,
    )


def interpolated(item: Modality) -> torch.Tensor:
    """NDVI at every date, linear between the clear ones, the nearest beyond them."""
    out = torch.zeros_like(item.data)
    days = item.day[0].numpy()
    for sample, clear in enumerate(item.present):
        if clear.any():
            known = item.data[sample, clear].flatten(1).numpy()
            values = [np.interp(days, days[clear.numpy()], known[:, pixel]) for pixel in range(known.shape[1])]
            out[sample] = torch.from_numpy(np.stack(values, 1)).view(out.shape[1:])
    return out


@pytest.mark.slow
def test_translation_beats_linear_interpolation_where_most_dates_are_missing() -> None:
    torch.manual_seed(0)
    ports = (SAR, Port("ndvi", "series", ("ndvi",), 10.0, "1"))
    network = sar_to_optical.Model(ports, 1, widths=[16, 24]).train()
    sar, cloudy, ndvi = season(96, 1)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for step in range(200):
        # Half of the clear dates are hidden from the network, which is to find them again.
        hidden = (
            torch.rand(cloudy.present.shape, generator=torch.Generator().manual_seed(step)) > 0.5
        ) & cloudy.present
        kept = cloudy._replace(valid=cloudy.valid & ~hidden[:, :, None, None])
        loss = (network({"s1": sar, "ndvi": kept}) - ndvi).abs()[hidden].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    sar, cloudy, ndvi = season(64, 2)
    with torch.inference_mode():
        found = network.eval()({"s1": sar, "ndvi": cloudy})
    missing = ~cloudy.present
    rmse = [(x - ndvi)[missing].square().mean().sqrt().item() for x in (found, interpolated(cloudy))]
    print(f"RMSE of translation {rmse[0]:.4f}, of linear interpolation {rmse[1]:.4f}")
    assert rmse[0] < 0.8 * rmse[1]
