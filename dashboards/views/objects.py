"""Objects: what a run sees in a video, frame by frame; a grid of its clips to choose from; a second run beside it.

The page opens on the best run, and on the clip that it is most sure of among those that it gets right.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import streamlit as st

from dashboards import page
from dashboards.clip import Clip, clip_of
from dashboards.clip_grid import Card, grid
from dashboards.folder_store import FolderRun
from dashboards.inference import run_label, seen, trained
from dashboards.objects_view import shown
from dashboards.run_files import read_scores, scores_of_clips, scores_of_sequences, surest_first
from dashboards.video_objects import Seen
from objadapt.data.davis import davis_sequences
from objadapt.errors import InputError
from objadapt.metric import JF
from objadapt.run_folder import MANIFEST

KINDS = ("validation clips", "annotated sequences")
ALL, RIGHT, WRONG = "all", "right", "wrong"
BADGES = {False: ":blue-badge[right]", True: ":orange-badge[wrong]"}
SUREST, HIGHEST, LOWEST = "surest first", "highest J&F", "lowest J&F"
QUARTERS = {f"{low} to {low + 25} %": (low / 100, low / 100 + 0.25) for low in (75, 50, 25, 0)}  # of J&F


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
    run = page.choose("Run", "objects.run", runs, lambda one: one.name, run_label)
    left, right = st.columns([3, 2])
    other = left.selectbox(
        "Compare with",
        [None, *(one for one in runs if one != run)],
        format_func=lambda one: run_label(one) if one else "no other run",
    )
    with right:
        kind = page.choose("Videos", "objects.videos", list(KINDS), str, str)
    found = _clip(run) if kind == KINDS[0] else _sequence(run)
    if found is None:
        return
    clip, true = found
    looked, problems = _seen([one for one in (run, other) if one], clip)
    if not looked:
        page.problem(problems[run.name])
        return
    shown(looked, clip.name.partition(" ")[0], true, problems)


def _clip(run: FolderRun) -> tuple[Clip, str | None] | None:
    """A clip that the run was judged on, and its true class."""
    clips, classes = page.clips(run.folder)
    if clips.empty:
        raise InputError(
            f"{run.folder / MANIFEST}: the run has no validation clips; choose annotated sequences or another run"
        )
    if not clips["head"].notna().all():
        st.caption("The run has no predictions of single clips yet, so the clips come in the manifest's order.")
        return _chosen(clips.assign(score=None), lambda row: "", lambda row: str(row.clip_id))
    heads = list(classes)
    head = page.choose("Judged by", "objects.head", heads, str, str) if len(heads) > 1 else heads[0]
    judged = surest_first(clips[clips["head"] == head])
    judged = judged.assign(score=scores_of_clips(read_scores(run.folder), judged["clip_id"].astype(str)))
    labelled = judged["wrong"].dropna()
    without = f" {len(judged) - len(labelled)} have no label." if len(labelled) < len(judged) else ""
    right = len(labelled) - int(labelled.sum())
    st.caption(f"{right} of {len(labelled)} clips are right.{without} Right ones come first, and the surest of them.")
    judged = _filtered(judged, classes[head])
    if judged.empty:
        st.info("No clip is like that; choose other filters.")
        return None
    return _chosen(judged, _badge, _described)


def _filtered(judged: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The clips of the chosen class, answer and verdict, in the chosen order."""
    scored = bool(judged["score"].notna().any())
    first, second, third, fourth, *fifth = st.columns(5 if scored else 4)
    with first:
        true = page.choose("Class", "objects.true", [ALL, *names], str, str)
    with second:
        answer = page.choose("Answer", "objects.predicted", [ALL, *names], str, str)
    with third:
        verdict = page.choose("Verdict", "objects.verdict", [ALL, RIGHT, WRONG], str, str)
    orders = [SUREST, HIGHEST, LOWEST] if scored else [SUREST]
    with fourth:
        order = page.choose("Order", "objects.order", orders, str, str)
    if true != ALL:
        judged = judged[judged["true"] == true]
    if answer != ALL:
        judged = judged[judged["predicted"] == answer]
    if verdict != ALL:
        judged = judged[(judged["wrong"] == (verdict == WRONG)).fillna(False)]
    for column in fifth:
        with column:
            judged = judged[_within(judged["score"])]
    if order != SUREST:
        judged = judged[judged["score"].notna()].sort_values("score", ascending=order == LOWEST)
    return judged


def _within(scores: pd.Series) -> pd.Series:
    """Which scores lie in the chosen quarter of J&F; without a choice all, those that are missing, too."""
    chosen = page.choose("J&F", "objects.jf", [ALL, *QUARTERS], str, str)
    low, high = QUARTERS.get(chosen, (0, 1))
    return pd.Series(chosen == ALL, scores.index) | (scores >= low) & ((scores < high) | (high == 1))


def _chosen(clips: pd.DataFrame, badge: Callable, described: Callable) -> tuple[Clip, str | None]:
    """The grid and the list of clips; -> the one that is chosen, and its true class."""
    rows = {str(row.clip_id): row for row in clips.itertuples()}
    cards = [Card(name, clip_of(row), badge(row)) for name, row in rows.items()]
    row = rows[_pick(cards, lambda name: described(rows[name]), "clip")]
    return clip_of(row), row.true


def _pick(cards: list[Card], described: Callable[[str], str], word: str) -> str:
    """The name of the card that is chosen, in the grid or in the list below it."""
    key, names = f"objects.{word}", [card.name for card in cards]
    at = st.session_state.get(key) or st.query_params.get(word)
    pressed = grid(cards, at if at in names else names[0], word)
    if pressed is not None:
        st.session_state[key] = pressed
        st.rerun()  # the grid marks it
    return page.choose("Video", key, names, str, described)


def _badge(row: tuple) -> str:
    score = "" if pd.isna(row.score) else f"  \nJ&F {JF.scale * row.score:.0f}"
    verdict = ":gray-badge[no label]" if pd.isna(row.wrong) else BADGES[bool(row.wrong)]
    return f"{verdict} {100 * row.probability:.0f} %  \n{page.plain(str(row.predicted))}{score}"


def _described(row: tuple) -> str:
    sure = f"{100 * row.probability:.0f} % sure"
    if pd.isna(row.wrong):
        return f"{row.clip_id}: no label, {sure}: {row.predicted}"
    verdict = f"wrong, {sure}" if row.wrong else f"right, {sure}"
    return f"{row.clip_id}: {verdict}: {row.predicted}" + (f" (it is {row.true})" if row.wrong else "")


def _sequence(run: FolderRun) -> tuple[Clip, None] | None:
    """A sequence that the run's objects were scored on; None where the filter leaves none."""
    scores = read_scores(run.folder)
    if not scores:
        raise InputError(
            f"{run.folder}: its objects were not scored on annotated sequences; python jobs/reproduce.py scores the"
            " runs of tables with J&F columns; choose validation clips or another run"
        )
    score = page.choose("Sequences of", "objects.davis", scores, lambda one: one["davis"], lambda one: one["davis"])
    means = scores_of_sequences(score)
    left, middle, right = st.columns([1, 1, 2], vertical_alignment="bottom")
    with middle:
        means = means[_within(means)]
    with left:
        order = page.choose("Order", "objects.order", [HIGHEST, LOWEST], str, str)
    means = means.sort_values(ascending=order == LOWEST)
    objects = f"{len(score['objects'])} objects of {score['objects']['sequence'].nunique()} sequences"
    right.caption(f"J&F {JF.text(JF.scale * score['mean'])} over {objects}.")
    if means.empty:
        st.info("No sequence is like that; choose another J&F.")
        return None
    there = {one.name: one for one in davis_sequences(Path(score["davis"]))}
    if gone := [name for name in means.index if name not in there]:
        raise InputError(f"{score['davis']}: lists no sequence {gone[0]} any more; put it back, or choose another run")
    clips = {
        name: Clip(
            name, pictures=tuple(map(str, there[name].frames)), annotations=tuple(map(str, there[name].annotations))
        )
        for name in means.index
    }
    told = {name: JF.text(JF.scale * means[name]) for name in clips}
    cards = [Card(name, clip, f"J&F {told[name]}") for name, clip in clips.items()]
    return clips[_pick(cards, lambda name: f"{name}: J&F {told[name]}", "sequence")], None


def _seen(runs: list[FolderRun], clip: Clip) -> tuple[dict[str, Seen], dict[str, str]]:
    """What each run sees, and why others cannot: one of two runs may still be shown."""
    looked, problems = {}, {}
    for run in runs:
        try:
            looked[run.name] = seen(run.folder, clip)
        except InputError as error:
            problems[run.name] = str(error)
    return looked, problems


page.show("Objects", content)
