"""What every network of the registry must do, at its TINY size."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from landcover_cli import registry
from landcover_cli.learn.modelfolder import load_model, save_model
from models.batch import Modality
from models.spec import ModelSpec, Port

NETWORKS = registry.names("model")
CLASSES = 4
S2 = Port("s2", "series", ("a", "b", "c"), 10.0, "reflectance", mean=(0.0,) * 3, std=(1.0,) * 3)
S1 = Port("s1", "series", ("vv", "vh"), 10.0, "gamma0_linear", "db", (0.0,) * 2, (1.0,) * 2)
DEM = Port("dem", "image", ("elevation",), 20.0, "m", mean=(0.0,), std=(1.0,), optional=True)
S2_OF_FIVE = dataclasses.replace(S2, length=5)
S1_OF_FIVE = dataclasses.replace(S1, length=5)
SPECTRA = Port("spectra", "image", ("k", "l", "m", "n"), 10.0, "reflectance", mean=(0.0,) * 4, std=(1.0,) * 4)
S2_COARSE = dataclasses.replace(S2, gsd_m=20.0, optional=True)
# The first that a network takes of each group: several inputs, one input.
PORT_GROUPS = (
    ((S2, S1, DEM), (SPECTRA, S2_COARSE), (S2_OF_FIVE, S1_OF_FIVE, DEM)),
    ((S2,), (S2_OF_FIVE,), (SPECTRA,)),
)


def port_sets(network: type) -> list[tuple[Port, ...]]:
    """The port lists that a network is tried on: several inputs if it takes them, and one."""
    found = []
    for group in PORT_GROUPS:
        for ports in group:
            try:
                with torch.device("meta"):
                    network(ports, CLASSES, **network.TINY)
            except ValueError:
                continue
            found.append(ports)
            break
    assert found, "takes neither one series, nor one image, nor several inputs"
    return found


# Networks that give a series (translation) have tests of their own.
MAPPERS = [name for name in NETWORKS if getattr(registry.load("model", name), "OUTPUT", "map") == "map"]
CASES = [(name, ports) for name in MAPPERS for ports in port_sets(registry.load("model", name))]
WITH_SERIES = [case for case in CASES if any(port.kind == "series" for port in case[1])]
each_case = pytest.mark.parametrize(("name", "ports"), CASES, ids=[f"{n}-{len(p)}" for n, p in CASES])


def make(name: str, ports: tuple[Port, ...]) -> nn.Module:
    torch.manual_seed(1)
    network: nn.Module = registry.load("model", name)(ports, CLASSES, **registry.load("model", name).TINY)
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if norms:  # else a fresh network shrinks its values layer by layer, and its logits say nothing
        before = [m.momentum for m in norms]
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            network.train()(batch_of(ports, batch=4, size=32, seed=99))
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum
    return network


def modality(port: Port, batch: int, size: int, seed: int, dates: int = 5) -> Modality:
    generator = torch.Generator().manual_seed(seed)
    length = 1 if port.kind == "image" else dates
    edge = size * 10 // int(port.gsd_m)
    valid = torch.rand(batch, length, edge, edge, generator=generator) > 0.3
    doy = torch.arange(1, length + 1).mul(30).expand(batch, length).clone() * (port.kind == "series")
    return Modality(
        torch.randn(batch, length, len(port.bands), edge, edge, generator=generator),
        valid,
        doy,
        doy - doy[:, :1],
        valid.flatten(2).any(-1),
    )


def batch_of(ports: tuple[Port, ...], batch: int = 2, size: int = 16, seed: int = 0) -> dict[str, Modality]:
    return {port.name: modality(port, batch, size, seed + i) for i, port in enumerate(ports)}


def without(item: Modality, sample: int) -> Modality:
    """The same with one sample unobserved."""
    valid, present = item.valid.clone(), item.present.clone()
    valid[sample], present[sample] = False, False
    return item._replace(valid=valid, present=present)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> None:
    """Relative to the largest logit: what rounding leaves over grows with it."""
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(1.0, b.abs().max().item()))


@each_case
def test_every_parameter_gets_a_gradient(name: str, ports: tuple[Port, ...]) -> None:
    network = make(name, ports).train()
    inputs = batch_of(ports, batch=2 + len(ports))
    for index, port in enumerate(ports):  # each input is absent from one sample of its own
        if len(ports) > 1:
            inputs[port.name] = without(inputs[port.name], index)
        else:  # a quarter of the ground was never seen
            inputs[port.name].valid[0, :, :8, :8] = False
    logits = network(inputs)
    assert logits.shape[:2] == (2 + len(ports), CLASSES)
    torch.nn.functional.cross_entropy(logits, torch.randint(CLASSES, (len(logits), *logits.shape[2:]))).backward()
    dead = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not dead


@each_case
def test_one_batch_is_overfitted(name: str, ports: tuple[Port, ...]) -> None:
    network = make(name, ports).train()
    inputs = batch_of(ports)
    # The sign of the first band on the first date, in cells as coarse as the network's own logits.
    band, cell = inputs[ports[0].name].data[:, :1, 0], getattr(type(network), "STRIDE", 1)
    coarse = torch.nn.functional.avg_pool2d(band, cell)
    target = torch.nn.functional.interpolate(coarse, size=band.shape[-2:]).gt(0).long()[:, 0]
    inputs[ports[0].name].valid[:, 0] = True
    optimiser = torch.optim.Adam(network.parameters(), 2e-2)
    first = last = 0.0
    for step in range(60):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(inputs), target)
        loss.backward()
        optimiser.step()
        first, last = (loss.item(), last) if step == 0 else (first, loss.item())
        if step > 0 and last < 0.6 * first:
            break
    assert last < 0.6 * first


@each_case
def test_padding_and_invalid_values_change_no_logit(name: str, ports: tuple[Port, ...]) -> None:
    network = make(name, ports).eval()
    inputs = batch_of(ports)
    with torch.inference_mode():
        expected = network(inputs)
        garbage = {
            key: item._replace(
                data=torch.where(item.valid.unsqueeze(2), item.data, torch.full_like(item.data, torch.nan))
            )
            for key, item in inputs.items()
        }
        close(network(garbage), expected)
        for port in ports:
            if port.kind == "series":
                close(network({**inputs, port.name: padded(inputs[port.name])}), expected)


def padded(item: Modality) -> Modality:
    """Two padded dates, one in front and one at the end."""

    def pad(x: Tensor, fill: Any) -> Tensor:
        extra = torch.full_like(x[:, :1], fill)
        return torch.cat([extra, x, extra], 1)

    return Modality(
        pad(item.data, 7.0), pad(item.valid, False), pad(item.doy, 0), pad(item.day, 0), pad(item.present, False)
    )


@each_case
def test_a_sample_does_not_depend_on_its_batch(name: str, ports: tuple[Port, ...]) -> None:
    network = make(name, ports).eval()
    inputs = batch_of(ports, batch=3)
    with torch.inference_mode():
        alone = network({key: Modality(*(t[:1] for t in item)) for key, item in inputs.items()})
        close(network(inputs)[:1], alone)


@pytest.mark.parametrize(("name", "ports"), WITH_SERIES, ids=[f"{n}-{len(p)}" for n, p in WITH_SERIES])
def test_order_of_dates_does_not_matter_their_days_do(name: str, ports: tuple[Port, ...]) -> None:
    network = make(name, ports).eval()
    inputs = batch_of(ports)
    order = torch.tensor([3, 0, 4, 2, 1])
    series = next(port.name for port in ports if port.kind == "series")
    item = inputs[series]
    with torch.inference_mode():
        expected = network(inputs)
        close(network({**inputs, series: Modality(*(t[:, order] for t in item))}), expected)
        shifted = item._replace(doy=item.doy.flip(1), day=item.day.flip(1))
        assert (network({**inputs, series: shifted}) - expected).abs().max() > 1e-4


@each_case
@pytest.mark.parametrize("size", [18, 26])
def test_odd_sizes(name: str, ports: tuple[Port, ...], size: int) -> None:
    network = make(name, ports).eval()
    inputs = {port.name: modality(port, 1, size, 3) for port in ports}
    if len(ports) == 1:  # an odd edge and a patch that is not square
        inputs = {key: Modality(*(t[..., :-1] if t.ndim > 3 else t for t in item)) for key, item in inputs.items()}
    with torch.inference_mode():
        logits = network(inputs)
    height, width = inputs[ports[0].name].data.shape[-2:]
    assert logits.shape == (1, CLASSES, height, width)
    assert logits.isfinite().all()


@pytest.mark.parametrize(("name", "ports"), [case for case in CASES if len(case[1]) > 1])
def test_a_missing_optional_input_equals_an_unobserved_one(name: str, ports: tuple[Port, ...]) -> None:
    network = make(name, ports).eval()
    inputs = batch_of(ports)
    needed, optional = ports[0].name, ports[-1].name
    empty = {key: without(without(item, 0), 1) if key == optional else item for key, item in inputs.items()}
    with torch.inference_mode():
        close(network({key: item for key, item in inputs.items() if key != optional}), network(empty))
        with pytest.raises(ValueError, match=needed):
            network({key: item for key, item in inputs.items() if key != needed})


@each_case
def test_nothing_observed_gives_finite_logits(name: str, ports: tuple[Port, ...]) -> None:
    network = make(name, ports).train()
    inputs = {key: without(without(item, 0), 1) for key, item in batch_of(ports).items()}
    logits = network(inputs)
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@each_case
def test_bf16_is_near_float32(name: str, ports: tuple[Port, ...]) -> None:
    network = make(name, ports).eval()
    inputs = batch_of(ports)
    with torch.inference_mode():
        expected = network(inputs)
        with torch.autocast("cpu", torch.bfloat16):
            found = network(inputs).float()
    # bf16 keeps 8 bits: 2^-8 per rounding, a few dozen roundings deep; single pixels lie further off.
    assert (found - expected).abs().mean() <= 0.05 * expected.abs().max()
    assert (found - expected).abs().max() <= 0.2 * expected.abs().max()


@each_case
def test_saved_and_loaded_model_is_the_same(name: str, ports: tuple[Port, ...], tmp_path: Any) -> None:
    network = make(name, ports).eval()
    classes = tuple({"code": i, "name": str(i), "color": "#000000", "description": ""} for i in range(CLASSES))
    legend = {"id": "x", "version": "1"}
    spec = ModelSpec(name, dict(type(network).TINY), ports, classes, legend, 10.0, 16, 4)
    save_model(tmp_path / "a", spec, network.state_dict())
    save_model(tmp_path / "b", spec, network.state_dict())
    loaded_spec, loaded = load_model(tmp_path / "a")
    inputs = batch_of(ports)
    with torch.inference_mode():
        assert torch.equal(loaded(inputs), network(inputs))
    assert dataclasses.replace(loaded_spec, options={}) == dataclasses.replace(spec, options={})
    for file in ("weights.safetensors", "model.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("name", NETWORKS)
def test_says_where_it_comes_from(name: str) -> None:
    network = registry.load("model", name)
    assert network.SOURCE
    assert network.LICENCE
