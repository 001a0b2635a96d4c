"""Notices of all training workers together, and what of them ends a training."""

from ..errors import InputError
from ..pipeline.quarantine import Notices
from .loop import merge_objects
from .task import Task


def merged(notices: Notices) -> Notices:
    """Notices of all workers; each of them must call it."""
    everything = Notices()
    for other in merge_objects(notices):
        assert isinstance(other, Notices)
        everything.merge(other)
    return everything


def refuse_unusable(task: Task, notices: Notices) -> None:
    """An epoch without a single usable clip is no training."""
    clips = task.schedule.train_rows
    if len(notices.quarantined) >= len(clips) and notices.quarantined.keys() >= set(clips.tolist()):
        stage, reason = next(iter(notices.quarantined.values()))
        raise InputError(
            f"data.root: none of the {len(clips)} training clips can be used (the first: {stage}: {reason})"
        )
