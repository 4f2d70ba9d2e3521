"""What every training objective of the registry must do."""

from __future__ import annotations

import dataclasses
import json
import math

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


@each
def test_a_pixel_of_weight_nil_is_one_without_a_label(name: str) -> None:
    found = []
    for weighted in (False, True):
        objective, network = make(name)
        part = batch()
        keep = torch.rand(part.target.shape, generator=torch.Generator().manual_seed(3)) > 0.5
        if weighted:
            part = dataclasses.replace(part, weight=keep.float())
        else:
            part = dataclasses.replace(part, target=torch.where(keep, part.target, IGNORE))
        found.append(objective.step(network.eval(), part).item())
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def by_hand(name: str, weights: str = "none", **options: object) -> float:
    """Two labelled pixels and one without a label, three classes; the third class has no label."""
    objective = registry.load("objective", name)()
    config = TrainConfig(objective=name, class_weights=weights)
    objective.setup(Task(config, (30, 10, 0), "cpu", {**objective.OPTIONS, **options}))
    chance = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.1, 0.1, 0.8]])
    target = torch.tensor([[[0, 1, IGNORE]]])
    return objective.step(lambda _: chance.log().T[None, :, None, :], Batch({}, target, (0,))).item()


def test_published_losses_by_hand() -> None:
    log = math.log
    assert by_hand("focal") == pytest.approx(-(0.3**2 * log(0.7) + 0.4**2 * log(0.6)) / 2)
    assert by_hand("focal", gamma=0) == pytest.approx(by_hand("cross_entropy"))
    # Weights 1/30 and 1/10, scaled to a mean of one: 0.5 and 1.5.
    weighted = -(0.5 * 0.3**2 * log(0.7) + 1.5 * 0.4**2 * log(0.6)) / 2
    assert by_hand("focal", "inverse") == pytest.approx(weighted)
    assert by_hand("focal", "inverse", gamma=0) == pytest.approx(by_hand("cross_entropy", "inverse"))
    first, second = 2 * 0.7 / (1.0 + 1), 2 * 0.6 / (0.8 + 1)
    assert by_hand("dice") == pytest.approx(1 - (first + second) / 2)
    assert by_hand("dice", skip_absent=False) == pytest.approx(1 - (first + second) / 3)
    both = 1 - (first + second) / 2 + 0.5 * by_hand("cross_entropy")
    assert by_hand("dice", cross_entropy=0.5) == pytest.approx(both)
    # The sum over all classes; the third has I = 0.
    assert by_hand("iou") == pytest.approx(3 - 0.7 / (1.0 + 1 - 0.7) - 0.6 / (0.8 + 1 - 0.6), rel=1e-6)
    assert by_hand("iou", skip_absent=True) == pytest.approx(2 - 0.7 / 1.3 - 0.6 / 1.2, rel=1e-6)
