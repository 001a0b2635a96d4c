"""Models and their results, kept while their files stay the same, so that moving a slider runs no model again."""

from pathlib import Path

import streamlit as st

from dashboards.store import Run, stamp
from dashboards.video_objects import Clip, Seen, look
from objadapt import load
from objadapt.run_folder import LAST
from objadapt.training.checkpoint import newest
from objadapt.video_model import VideoModel


def trained(runs: list[Run]) -> list[Run]:
    """The runs that have a checkpoint."""
    return [run for run in runs if newest(run.folder / LAST).is_dir()]


def run_label(run: Run) -> str:
    """A run in a list to choose from."""
    accuracy = run.summary.get("top1", run.summary.get("action_top1"))
    state = (
        f"top-1 {100 * accuracy:.1f} %"
        if isinstance(accuracy, float)
        else "not finished"
        if not run.finished
        else "no accuracy"
    )
    return f"{run.folder.name} ({state})"


def seen(run: Path, clip: Clip) -> Seen:
    """`video_objects.look` with a run's last checkpoint, kept. Errors are those of `objadapt.load` and of `look`."""
    files = (clip.file,) if clip.file else clip.pictures
    return _seen(*_checkpoint(run), clip, tuple(stamp(Path(file)) for file in files if file))


def model(run: Path) -> VideoModel:
    """The model of a run's last checkpoint, kept."""
    return _model(*_checkpoint(run))


def _checkpoint(run: Path) -> tuple[str, tuple, tuple]:
    folder = newest(run / LAST)
    return str(folder), stamp(folder / "adapter.safetensors"), stamp(folder / "state.json")


@st.cache_resource(max_entries=2, show_spinner="Loading the model ...")
def _model(folder: str, *stamps: tuple) -> VideoModel:
    return load(folder)


@st.cache_data(max_entries=24, show_spinner="Looking at the video ...")
def _seen(folder: str, weights: tuple, state: tuple, clip: Clip, versions: tuple) -> Seen:
    return look(_model(folder, weights, state), clip)
