"""What every training objective of the registry must do."""

from __future__ import annotations

import json

import pytest
import torch

from landcover_cli import registry
from landcover_cli.config.learning import TrainConfig
from landcover_cli.learn.objective import IGNORE, Batch, Task
from models.batch import Modality
from models.fusion_utae import Model
from models.spec import Port

each = pytest.mark.parametrize("name", registry.names("objective"))


def make(name: str):
    objective = registry.load("objective", name)()
    objective.setup(Task(TrainConfig(objective=name), (10, 20, 30), "cpu"))
    torch.manual_seed(0)
    network = Model((Port("s2", "series", ("a", "b"), 10.0, "reflectance"),), 3, **Model.TINY).train()
    return objective, network


def batch(labelled: bool = True) -> Batch:
    generator = torch.Generator().manual_seed(0)
    valid = torch.rand(2, 4, 16, 16, generator=generator) > 0.2
    doy = torch.tensor([[15, 46, 74, 105]] * 2)
    data = torch.randn(2, 4, 2, 16, 16, generator=generator)
    target = torch.randint(0, 3, (2, 16, 16), generator=generator)
    target[:, :, :5] = IGNORE
    if not labelled:
        target[:] = IGNORE
    return Batch({"s2": Modality(data, valid, doy, doy, valid.flatten(2).any(-1))}, target, (0, 1))


@each
def test_loss_is_a_finite_scalar_with_gradients(name: str) -> None:
    objective, network = make(name)
    loss = objective.step(network, batch())
    assert loss.shape == ()
    assert loss.isfinite()
    loss.backward()
    assert sum(float(p.grad.abs().sum()) for p in network.parameters() if p.grad is not None) > 0


@each
def test_unlabelled_pixels_decide_nothing(name: str) -> None:
    objective, network = make(name)
    loss = objective.step(network.eval(), batch(labelled=False))
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@each
def test_state_round_trips_as_json(name: str) -> None:
    objective, network = make(name)
    objective.step(network, batch())
    objective.on_epoch_end(1, network)
    state = json.loads(json.dumps(objective.state()))
    other, _ = make(name)
    other.load_state(state)
    assert other.state() == objective.state()


def test_cross_entropy_by_hand() -> None:
    objective, _ = make("cross_entropy")
    logits = torch.tensor([2.0, 0.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    target = torch.tensor([[[0, 1], [IGNORE, 0]]])
    found = objective.step(lambda _: logits, Batch({}, target, (0,)))
    share = torch.softmax(torch.tensor([2.0, 0.0, -1.0]), 0)
    assert found.item() == pytest.approx(float(-(2 * share[0].log() + share[1].log()) / 3))
