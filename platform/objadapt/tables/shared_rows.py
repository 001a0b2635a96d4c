"""Rows of tables trained from one stream, in this process: what they share is decoded and encoded once for all of them.

Rows share a stream where clips, sampling, backbone, seed, batches and testing views are the same. A table without a
cache then costs one pass over the data for each seed, and a small step a row.
"""

from collections.abc import Callable, Iterator
from functools import partial

from ..training.shared_stream import together, train_together
from .rows import Place, noted_parent, tell, to_run, train_row


def streams_of(places: list[Place]) -> list[list[Place]]:
    """Places by the stream that they share, in the order of the tables."""
    groups: dict[tuple, list[Place]] = {}
    for place in places:
        groups.setdefault(together(place.plan), []).append(place)
    return list(groups.values())


def shared_text(places: list[Place]) -> str:
    """How many trainings share how many streams."""
    groups = streams_of(to_run(places))
    rows = sum(len(group) for group in groups)
    return f"shared: {rows} trainings in this process, from {len(groups)} stream{'s' * (len(groups) != 1)}"


def train_from_one_stream(
    places: list[Place],
    code_version: str,
    parent_of: Callable[[Place], str | None],
    show: Callable[[str, int, int, str], None],
) -> Iterator[tuple[Place, str | None]]:
    """Train places, those of one stream together; yields each as it ends, with one line where it failed.

    Args:
        parent_of: MLflow run that a place's run is to be a child of.
    """
    ended = 0
    for group in streams_of(places):
        plans = [place.plan for place in group]
        works = []
        for place in group:
            parent = noted_parent(place, parent_of(place))
            works.append(partial(train_row, place.plan, place.test, code_version, parent))
        for number, problem, error in train_together(plans, works, show):
            if error is not None:
                raise error
            ended += 1
            tell(show, group[number], problem, ended, len(places))
            yield group[number], problem
