"""Objects: what a run sees in a video, frame by frame, worst videos first; a second run beside it.

The page opens on the best run, and on the clip that it is most sure of among those that it gets right.
"""

import math
from pathlib import Path

import pandas as pd
import streamlit as st

from dashboards import page
from dashboards.folder_store import FolderRun
from dashboards.inference import run_label, seen, trained
from dashboards.objects_view import controls, view
from dashboards.run_files import failures_first, read_scores
from dashboards.video_objects import Clip, Seen
from objadapt.data.davis import davis_sequences
from objadapt.errors import InputError
from objadapt.metric import JF
from objadapt.run_folder import MANIFEST

CLIPS, SEQUENCES = "validation clips", "annotated sequences"
WIDE, NARROW = 250, 200  # pixels of a picture of one run, and of two side by side


def content() -> None:
    """The whole page."""
    if page.needs_folder("Objects are found by checkpoints, which lie"):
        return
    runs = trained(page.all_runs())
    if not runs:
        page.nothing(
            "No run of this store has a checkpoint yet. A training of some minutes on toy data:",
            *page.on_toy("jobs/train.py --config jobs/configs/toy.yaml"),
        )
        return
    left, right = st.columns(2)
    run = left.selectbox("Run", runs, format_func=run_label)
    other = right.selectbox(
        "Compare with",
        [None, *(one for one in runs if one != run)],
        format_func=lambda one: run_label(one) if one else "no other run",
    )
    kind = st.segmented_control("Videos", [CLIPS, SEQUENCES], default=CLIPS, required=True)
    clip, true = _clip(run) if kind == CLIPS else _sequence(run)
    folders = [chosen.folder for chosen in (run, other) if chosen]
    shown, problems = _seen(folders, clip)
    if not shown:
        page.problem(problems[run.folder])
        return
    frame, slot = controls(list(shown.values()), clip.name)
    for place, folder in zip(st.columns(len(folders)), folders, strict=False):
        with place:
            if len(folders) > 1:
                st.markdown(f"**{page.plain(folder.name)}**")
            if folder in problems:
                page.problem(problems[folder])
            else:
                view(shown[folder], frame, slot, folder.name, WIDE if len(folders) == 1 else NARROW, true)


def _clip(run: FolderRun) -> tuple[Clip, str | None]:
    """A clip that the run was judged on, and its true class."""
    clips, classes = page.clips(run.folder)
    if clips.empty:
        raise InputError(
            f"{run.folder / MANIFEST}: the run has no validation clips; choose annotated sequences or another run"
        )
    judged = clips["head"].notna().all()
    if judged:
        heads = list(classes)
        head = st.selectbox("Judged by", heads) if len(heads) > 1 else heads[0]
        ordered = failures_first(clips[clips["head"] == head])
        wrong = int(ordered["wrong"].sum())
        st.caption(f"{wrong} of {len(ordered)} clips are wrong; the most confident mistakes come first.")
    else:
        ordered = clips
        st.caption("The run has no predictions of single clips yet, so the clips come in the manifest's order.")
    rows = list(ordered.itertuples())
    row = st.selectbox(
        "Video",
        rows,
        index=len(rows) - 1 if judged and not rows[-1].wrong else 0,  # the last is the one most surely right
        format_func=_described if judged else lambda one: str(one.clip_id),
        key=f"clip {run.folder.name}",
    )
    return Clip(f"{row.clip_id} ({row.path})", row.path, _number(row.start_s), _number(row.end_s)), row.true


def _described(row: tuple) -> str:
    verdict = "right" if not row.wrong else f"wrong, {100 * row.probability:.0f} % sure"
    return f"{row.clip_id}: {verdict}: {row.predicted}" + (f" (it is {row.true})" if row.wrong else "")


def _sequence(run: FolderRun) -> tuple[Clip, None]:
    """A sequence that the run's objects were scored on."""
    scores = read_scores(run.folder)
    if not scores:
        raise InputError(
            f"{run.folder}: its objects were not scored on annotated sequences; jobs/reproduce.py scores the runs of"
            " tables with J&F columns; choose validation clips or another run"
        )
    score = st.selectbox("Sequences of", scores, format_func=lambda one: one["davis"]) if len(scores) > 1 else scores[0]
    worst: pd.Series = score["objects"].groupby("sequence")["J&F"].mean().sort_values()
    objects = f"{len(score['objects'])} objects of {len(worst)} sequences"
    st.caption(f"J&F {JF.text(JF.scale * score['mean'])} over {objects}; the worst come first.")
    name = st.selectbox(
        "Video",
        list(worst.index),
        format_func=lambda one: f"{one}: J&F {JF.text(JF.scale * worst[one])}",
        key=f"sequence {run.folder.name}",
    )
    sequences = {sequence.name: sequence for sequence in davis_sequences(Path(score["davis"]))}
    if name not in sequences:
        raise InputError(f"{score['davis']}: lists no sequence {name} any more; put it back, or choose another")
    return Clip(
        name, pictures=tuple(map(str, sequences[name].frames)), annotations=tuple(map(str, sequences[name].annotations))
    ), None


def _seen(folders: list[Path], clip: Clip) -> tuple[dict[Path, Seen], dict[Path, InputError]]:
    """What each run sees, and why others cannot: one of two runs may still be shown."""
    shown, problems = {}, {}
    for folder in folders:
        try:
            shown[folder] = seen(folder, clip)
        except InputError as error:
            problems[folder] = error
    return shown, problems


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


page.show("Objects", content)
