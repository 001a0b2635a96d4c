"""Methods are built from their config section alone; one from outside by its module, with settings of its own."""

import pytest
import torch

from objadapt.config import Experiment
from objadapt.config_file import load_config
from objadapt.errors import InputError
from objadapt.job import parameter_lines
from objadapt.methods.build import build_method
from objadapt.methods.linear_probe import LinearProbeMethod
from objadapt.methods.object_centric.adapter import ObjectCentricAdapter

B, T, N, J, HEADS = 6, 4, 9, 16, {"verb_label": 5, "noun_label": 3}
MINE = """
from pydantic import Field
from torch import nn

from objadapt.config_where import Section
from objadapt.methods.classification import classification_loss
from objadapt.methods.method import Method, Output


class Settings(Section):
    depth: int = Field(1, ge=1)


class Mine(Method):
    def __init__(self, depth, heads, width):
        super().__init__()
        self.layers = nn.Sequential(*[nn.Linear(width, width) for _ in range(depth)])
        self.heads = nn.ModuleDict({name: nn.Linear(width, classes) for name, classes in heads.items()})

    def forward(self, batch):
        video = self.layers(batch["patches"].to(self.dtype)).mean(dim=(1, 2))
        return Output({name: head(video) for name, head in self.heads.items()})

    def losses(self, output, batch, step):
        loss = classification_loss(output.logits, batch["labels"], batch["valid"])
        return {"classification": loss, "total": loss}


def build(settings, config, heads, joint_width):
    return Mine(settings.depth, heads, joint_width)
"""


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "patches": torch.randn(B, T, N, J, generator=generator).half(),
        "cls": torch.randn(B, T, J, generator=generator).half(),
        "labels": torch.tensor([[0, 0], [1, 1], [2, 2], [3, -1], [4, 0], [-1, -1]]),
        "valid": torch.tensor([True, True, True, True, False, True]),
    }


def config(*overrides: str) -> Experiment:
    return load_config(None, [f"sampling.frames={T}", *overrides])


def test_each_name_builds_its_method_under_the_seed():
    assert type(build_method(config("method.heads=2"), HEADS, J)) is ObjectCentricAdapter
    one, same, other = (build_method(config("method.name=linear_probe", f"seed={s}"), HEADS, J) for s in (3, 3, 4))
    assert type(one) is LinearProbeMethod and one.grouping is None
    weights = [method.state_dict()["heads.verb_label.weight"] for method in (one, same, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_the_parameters_of_every_method_are_told(tiny_plan):
    """A method without parts for its losses alone has nothing to say of them."""
    probe, paper = parameter_lines(tiny_plan("method.name=linear_probe")), parameter_lines(tiny_plan())
    assert probe.splitlines()[-1] == "tunable 1,040"
    assert paper.splitlines()[-1].endswith("(loss_projections serve the losses alone and are not counted)")


def test_the_linear_probe_is_a_linear_classifier_of_the_mean_cls_token(batch):
    method = build_method(config("method.name=linear_probe"), HEADS, J)
    output = method(batch)
    head = method.heads["noun_label"]
    expected = batch["cls"].float().mean(dim=1) @ head.weight.T + head.bias
    torch.testing.assert_close(output.logits["noun_label"], expected)
    shuffled = batch | {"cls": batch["cls"].flip(1), "patches": torch.zeros(B, T, N, J)}
    torch.testing.assert_close(method(shuffled).logits["noun_label"], expected)  # neither order nor patches count
    losses = method.losses(output, batch, 0)
    picked = [
        torch.nn.functional.cross_entropy(output.logits[name][rows], batch["labels"][rows, column])
        for column, (name, rows) in enumerate({"verb_label": [0, 1, 2, 3], "noun_label": [0, 1, 2]}.items())
    ]
    torch.testing.assert_close(losses["total"], sum(picked) / 2)
    losses["total"].backward()
    assert all(parameter.grad is not None for parameter in method.parameters())


def test_a_method_from_outside(batch, tmp_path, monkeypatch):
    (tmp_path / "own_methods").mkdir()
    (tmp_path / "own_methods" / "mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    method = build_method(config("method.module=own_methods.mine", "method.settings.depth=3"), HEADS, J)
    assert len(method.layers) == 3 and method(batch).logits["verb_label"].shape == (B, 5)
    for override, told in (
        ("method.settings.depth=0", "method.settings.depth: .* greater than or equal to 1"),
        ("method.settings.width=3", "method.settings.width: unknown key; .*known here: depth"),
    ):
        with pytest.raises(InputError, match=told):
            build_method(config("method.module=own_methods.mine", override), HEADS, J)


def test_a_module_that_cannot_be_had_is_told_from_one_that_is_no_method(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_empty.py").write_text("import torch\n")
    (tmp_path / "own_needy.py").write_text("import surely_not_installed\n")
    (tmp_path / "own_typo.py").write_text("x = 1\ndef build(:\n")
    (tmp_path / "own_old.py").write_text("from torch import surely_no_such_name\n")
    (tmp_path / "own_loose.py").write_text(
        MINE.replace("class Settings(Section)", "class Settings(BaseModel)").replace(
            "import Field", "import BaseModel, Field"
        )
    )
    (tmp_path / "own_wrong.py").write_text(MINE + "\n\ndef build(*_):\n    return nn.Linear(1, 1)\n")
    for module, told in (
        ("own_absent.method", "no module own_absent.method on the path"),
        ("own_empty", "own_empty has no Settings and no build"),
        ("own_needy", "own_needy needs surely_not_installed"),
        ("own_typo", r".*own_typo.py, line 2: invalid syntax"),
        ("own_old", "own_old cannot be imported .*surely_no_such_name"),
        ("own_loose", "Settings of own_loose is no objadapt Section"),
        ("own_wrong", "build of own_wrong gives a Linear"),
    ):
        with pytest.raises(InputError, match=f"method.module: {told}"):
            build_method(config(f"method.module={module}"), HEADS, J)
