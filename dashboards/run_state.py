"""What is known of a run: whether it ended, trains, was cut off or never began, and how far it came. No Streamlit."""

from dataclasses import dataclass

from dashboards.store import Records, Run
from objadapt.metric import TOP1, stored_name

RECENT = 600  # seconds since the last record within which a run without an end counts as training
ACCURACY = f"val/{TOP1.name}"


@dataclass(frozen=True)
class State:
    """In a word, for a table; and in a sentence, None where a finished run needs none."""

    word: str
    sentence: str | None


def state(run: Run, records: Records | None, now: float) -> State:
    """The state of a run by what it left; `records`: None where it left none.

    Args:
        now: seconds since 1970.
    """
    if run.problem:
        return State("damaged", run.problem)
    if run.finished:
        return State("finished", None)
    if records is None or records.seconds is None:
        return State("not begun", f"it left no record: it has not begun, or was cut off before; {again(run)}.")
    far, ago = progress(records), now - records.seconds
    if records.status in ("FAILED", "KILLED"):
        word = {"FAILED": "failed", "KILLED": "stopped"}[records.status]
        return State(f"{word}, {far}", f"{word} after {far}; {again(run)}.")
    if records.status == "FINISHED":
        return State(f"trained, {far}", f"its training ended after {far}, and it has no summary yet; {again(run)}.")
    if ago < RECENT:
        return State(f"running, {far}", f"{far}; the last record came {ago_text(ago)} ago, so it probably runs.")
    return State(
        f"cut off, {far}", f"{far}; the last record came {ago_text(ago)} ago, so it was cut off; {again(run)}."
    )


def again(run: Run) -> str:
    """What the command that trained it would do, as far as it is known."""
    if run.checkpoint is None:
        return "whether it has a checkpoint is known in its output folder"
    if run.checkpoint:
        return "the command that trained it goes on from its last checkpoint"
    return "it has no checkpoint, so the command that trained it starts anew"


def progress(records: Records) -> str:
    """How far a training came: `epoch 3`, `step 40 of epoch 1`, `no step yet`."""
    if len(records.epochs):
        return f"epoch {records.epochs.index[-1]}"
    return f"step {records.steps.index[-1]}" if len(records.steps) else "no step yet"


def so_far(records: Records) -> dict:
    """What an unfinished run has of a summary: epochs, training loss, waiting, and its last accuracy."""
    epochs = records.epochs
    if not len(epochs):
        return {}
    found = {"epochs": int(epochs.index[-1])}
    for name, column in {
        "train_loss": "train/total",
        "data_wait_share": "train/data_wait_share",
        accuracy_of(epochs).removeprefix("val/"): accuracy_of(epochs),
    }.items():
        if column in epochs and len(known := epochs[column].dropna()):
            found[name] = float(known.iloc[-1])
    return found


def accuracy_of(epochs) -> str:
    """The column of the accuracy: of the action, where a clip has a verb and a noun."""
    return f"val/{stored_name(TOP1.name, [name.removeprefix('val/') for name in epochs])}"


def ago_text(seconds: float) -> str:
    """`40 s`, `12 min`, `5 h`, `3 days`."""
    for size, most, unit in ((1, 120, "s"), (60, 7200, "min"), (3600, 172_800, "h")):
        if seconds < most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"
