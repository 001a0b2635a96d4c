"""Models and their results, kept while their files stay the same, so that moving a slider runs no model again."""

from pathlib import Path

import streamlit as st

from dashboards.clip import Clip
from dashboards.folder_store import FolderRun, stamp
from dashboards.summaries import best_first
from dashboards.video_objects import Seen, look
from objadapt import load
from objadapt.metric import TOP1
from objadapt.run_folder import LAST, WEIGHTS
from objadapt.training.checkpoint import newest
from objadapt.video_model import VideoModel


def trained(runs: list[FolderRun]) -> list[FolderRun]:
    """The runs that have a checkpoint, the most accurate first; those of unknown accuracy last, as they came."""
    return best_first([run for run in runs if run.checkpoint])


def run_label(run: FolderRun) -> str:
    """A run in a list to choose from."""
    accuracy = TOP1.value(run.summary)
    state = "no accuracy" if run.finished else "not finished"
    if accuracy is not None:
        state = f"{TOP1.label} {TOP1.text(accuracy)}"
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
    return str(folder), stamp(folder / WEIGHTS), stamp(folder / "state.json")


@st.cache_resource(max_entries=2, show_spinner="Loading the model ...")
def _model(folder: str, *stamps: tuple) -> VideoModel:
    return load(folder)


@st.cache_data(max_entries=12, show_spinner="Looking at the video ...")
def _seen(folder: str, weights: tuple, state: tuple, clip: Clip, versions: tuple) -> Seen:
    return look(_model(folder, weights, state), clip)
