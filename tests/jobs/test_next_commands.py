"""What a finished training says to do next names folders that are there."""

from types import SimpleNamespace

import pytest

from objadapt.commands.train import next_commands
from objadapt.config_file import load_config
from objadapt.declared import CONFIGS


@pytest.mark.parametrize(
    ("there", "settings", "shown"),
    [
        (("train", "val"), [], "my clips/val"),
        (("train", "validation"), [], "my clips/validation"),
        (("train", "test"), ["data.val=test"], "my clips/test"),
        (("train",), ["data.holdout=0.2"], "my clips"),
        (("train",), ["data.format=csv"], "my clips"),
    ],
)
def test_objects_of_the_validation_clips_or_of_all_where_they_are_held_out(
    tmp_path, monkeypatch, there, settings, shown
):
    monkeypatch.chdir(tmp_path)
    for name in there:
        (tmp_path / "my clips" / name).mkdir(parents=True)
    config = load_config(CONFIGS / "own_videos.yaml", ["data.root=my clips", *settings])
    trained = SimpleNamespace(config=config, method=lambda: SimpleNamespace(grouping=object()))
    evaluate, segment, app = next_commands(trained, tmp_path / "outputs" / "runs" / "mine")
    monkeypatch.setattr("sys.argv", ["/usr/bin/objadapt train"])  # as commands/__init__.py sets it
    assert next_commands(trained, tmp_path / "outputs" / "runs" / "mine")[-1] == "objadapt dashboard outputs"
    assert "evaluate.py outputs/runs/mine " in evaluate and app == "make dashboard STORE=outputs"
    assert f"--checkpoint outputs/runs/mine/last --video '{shown}' --out outputs/masks" in segment
