"""Gradients are scaled down to a norm; a group apart has a norm of its own."""

import pytest
import torch

from objadapt.config import Training
from objadapt.config_methods import ObjectCentric
from objadapt.methods.object_centric.adapter import ObjectCentricAdapter
from objadapt.training.loop import LossModule, Progress, build_optimiser, clip_gradients, train_epoch


def test_groups_apart_are_clipped_by_a_norm_of_their_own():
    """Whatever the gradients of the others are, theirs stay as they would be alone."""
    module = torch.nn.ModuleDict({"method": torch.nn.Linear(3, 2), "beside": torch.nn.Linear(3, 2)})
    groups = [{"params": module["method"].parameters()}, {"params": module["beside"].parameters(), "apart": True}]
    optimiser = torch.optim.SGD(groups, lr=1.0)
    for parameter in module["method"].parameters():
        parameter.grad = torch.full_like(parameter, 100.0)
    for parameter in module["beside"].parameters():
        parameter.grad = torch.full_like(parameter, 0.1)
    norm = clip_gradients(module, optimiser, limit=1.0)
    assert norm == pytest.approx(100 * 8**0.5)
    norms = {name: torch.cat([one.grad.flatten() for one in part.parameters()]).norm() for name, part in module.items()}
    assert norms["method"] == pytest.approx(1, rel=1e-4)
    assert norms["beside"] == pytest.approx(0.1 * 8**0.5), "it is below the limit"
    assert clip_gradients(module, optimiser, limit=None) == pytest.approx(1, rel=1e-4)


def test_a_classifier_beside_the_objects_changes_nothing_of_them():
    """After steps whose gradients are clipped, every other weight is what it is without the classifier, to the bit."""
    generator = torch.Generator().manual_seed(0)
    batch = {
        "patches": torch.randn(8, 4, 10, 24, generator=generator),
        "cls": torch.randn(8, 4, 24, generator=generator),
        "labels": torch.arange(8)[:, None] // 2,
        "valid": torch.ones(8, dtype=torch.bool),
        "row": torch.arange(8),
    }
    training = Training(lr=1e-2, warmup_epochs=0, clip_norm=0.1)
    learned = []
    for pace in (0.0, 10.0):
        torch.manual_seed(0)
        settings = ObjectCentric.model_validate(
            {"width": 16, "slots": {"number": 3}, "dropout": 0.5, "cls_probe": pace}
        )
        method = ObjectCentricAdapter(settings, {"label": 4}, 24, frames=4)
        optimiser, cpu = build_optimiser(method, training), torch.device("cpu")
        train_epoch(LossModule(method), [batch] * 5, optimiser, training, Progress(), 5, cpu, lambda *_: None)
        learned.append({name: value for name, value in method.state_dict().items() if not name.startswith("cls_heads")})
    plain, beside = learned
    assert plain.keys() == beside.keys() and all(torch.equal(plain[name], beside[name]) for name in plain)
