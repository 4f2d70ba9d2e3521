"""A model description that is JSON but not a model is refused by name."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from landcover_cli.errors import InputError
from landcover_cli.learn.modelfolder import DESCRIPTION, build_model, model_digest, read_spec, save_model
from landcover_cli.registry import load
from models.spec import ModelSpec, Port


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ports = (Port("s2", "series", ("B04", "B08"), 10.0, "reflectance", mean=(0.1, 0.3), std=(0.1, 0.1)),)
    classes = ({"code": 1, "name": "a", "color": "#112233", "description": ""},) * 2
    options = dict(load("model", "fusion_utae").TINY)
    spec = ModelSpec("fusion_utae", options, ports, classes, {"id": "x", "version": "1"}, 10.0, 16, 2)
    target = tmp_path / "model"
    target.mkdir()
    save_model(target, spec, build_model(spec).state_dict())
    assert read_spec(target).ports == ports
    return target


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "patch_px"), "x"),
        (("spec", "ports", 0, "std"), [0.1]),
        (("spec", "ports", 0, "bands"), "B04"),
        (("spec", "ports"), {"s2": 1}),
        (("spec", "classes"), 3),
        (("spec", "temperature"), None),
        (("spec",), []),
        (("weights",), []),
    ],
)
def test_wrong_types_are_refused(folder: Path, path: tuple[Any, ...], value: Any) -> None:
    from landcover_cli.learn.modelfolder import load_model

    description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    changed = copy.deepcopy(description)
    inner = changed
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    (folder / DESCRIPTION).write_text(json.dumps(changed), encoding="utf-8")
    model_digest(folder)
    with pytest.raises(InputError, match=r"model\.json|model"):
        load_model(folder)
