"""Rows of masks that need no training: k-means, a grid, the truth in patches; on annotated sequences, each once."""

from collections.abc import Callable

import torch

from ..plan import Plan
from ..runs.discovery_test import discovery_metrics, untrained_discovery
from ..runs.object_test import ObjectTest, Untrained, given_to, has_objects, metrics, untrained
from ..training.display import stage
from .outcome import RowResult
from .rows import Place

MASKS_ALONE = "masks alone have none"


def untrained_rows(
    places: list[Place], kinds: list[Untrained], show: Callable | None, cpus: float | None
) -> dict[str, RowResult]:
    """A row for each kind, with as many masks as the first place with slots has slots.

    Args:
        cpus: of a Ray task. Each kind is scored on each set of sequences in a task of its own, if it has no score yet.
            None: all are scored in this process, since a stream may hold every CPU.
    """
    place = _measure(places)
    missing = None if place else "no annotated sequences given (--davis)"
    rows = {kind: RowResult(missing=missing, wanted=1) for kind in kinds}
    if place is None:
        return rows
    test, plan = place.test, place.plan
    if to_score := left_to_score(places, kinds):
        names, sequences = ", ".join(kinds), sum(len(one.sequences) for one in test.every)
        stage(show, f"score {names} on {sequences} sequences")
        if cpus is not None:
            _score_apart(to_score, plan, cpus)
    for kind, row in rows.items():
        found = untrained(test, plan, kind)
        said = {"no_objects": "not measured of masks without training", "masks_alone": MASKS_ALONE}
        row.summaries[0] = metrics(found) | said
        for one in test.others:
            row.summaries[0] |= metrics(untrained(one, plan, kind), one.name)
        if test.discovery:
            row.summaries[0] |= discovery_metrics(untrained_discovery(test, plan, kind), found)
    return rows


def left_to_score(places: list[Place], kinds: list[Untrained]) -> list[tuple[ObjectTest, Untrained]]:
    """Sets of sequences, and kinds of masks without training that have no score on them yet."""
    if not (place := _measure(places)):
        return []
    return [(one, kind) for kind in kinds for one in place.test.every if not _scored(one, place.plan, kind)]


def _measure(places: list[Place]) -> Place | None:
    """The place whose slots masks without training are as many as."""
    return next((place for place in places if place.plan and place.test and has_objects(place.plan)), None)


def _score_apart(to_score: list[tuple[ObjectTest, Untrained]], plan: Plan, cpus: float) -> None:
    """Leave results where `untrained` and `untrained_discovery` find them."""
    import ray  # which a dry run does not wait for

    task = ray.remote(num_cpus=cpus)(_score)
    try:
        ray.get([task.remote(one, plan, kind) for one, kind in to_score])
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None  # as if it had been scored here


def _scored(test: ObjectTest, plan: Plan, kind: Untrained) -> bool:
    looked_at = not test.discovery or given_to(test, plan, kind, "discovery-").exists()
    return looked_at and given_to(test, plan, kind).exists()


def _score(test: ObjectTest, plan: Plan, kind: Untrained) -> None:
    torch.set_num_threads(1)
    untrained(test, plan, kind)
    if test.discovery:
        untrained_discovery(test, plan, kind)
