"""Rows x seeds of tables, packed on Ray: each trains once, from the shared feature cache,
however many tables have it.
"""

import json
import logging
import traceback
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import ray
import torch

from ..config import Experiment
from ..data.toy_scenes import toy_mark
from ..errors import InputError
from ..metric import JF, METRICS, TOP1
from ..pipeline.automatic import within_reach
from ..plan import Plan
from ..run_folder import SUMMARY
from ..runs.cautions import cautions
from ..runs.discovery_test import discovery_result, run_discovery_test
from ..runs.object_test import JOINT, ObjectTest, has_objects, run_object_test
from ..runs.run import run_experiment, stored_summary
from ..stored_format import marks, read_marked
from ..training import display
from ..training.shared_stream import Turns
from .plans import Plans
from .selection import check_rows
from .table import PUBLISHED, Row, Table, left_out, row_config

log = logging.getLogger(__name__)
PARENT = "table_parent.json"  # in a run's folder: the MLflow run that it was made a child of
NOTE_EVERY = 5.0  # seconds between looks at the rows under way
MOST_AT_ONCE = 1000  # rows that train at once, where an autoscaler has no limit
RETRIES = 1  # of a row whose process died: it goes on from its last checkpoint


@dataclass(frozen=True, eq=False)
class Place:
    """One row of one table under one seed; `plan` is None where it cannot be run, and `reason` says why."""

    table: Table
    row: Row
    seed: int
    plan: Plan | None
    reason: str | None = None
    test: ObjectTest | None = None  # on which the objects of its run are scored
    left_out: tuple[str, ...] = ()  # the user's overrides that are of the method that the row replaces

    @cached_property
    def folder(self) -> Path:
        """Of the run; found once, since it takes a hash of the whole manifest."""
        return self.plan.folder

    @property
    def work(self) -> tuple[Path, str]:
        """What is done once, however many places have it: the run, and the views in which it is tested."""
        return self.folder, self.plan.config.evaluation.label

    @property
    def trained(self) -> bool:
        """Whether its run has finished, in whichever views it was tested."""
        return self.plan is not None and (self.folder / SUMMARY).exists()

    @property
    def tested(self) -> bool:
        """Whether its run has finished, and was tested in the place's own views."""
        return self.trained and stored_summary(self.plan) is not None

    @property
    def scored(self) -> bool:
        """Whether nothing is left to score: no test was asked for, there are no slots to be tested,
        or the result is there.
        """
        if self.plan is None or self.test is None or not has_objects(self.plan):
            return True
        looked_at = not self.test.discovery or discovery_result(self.test, self.plan).exists()
        return looked_at and all(one.result(self.plan).exists() for one in self.test.every)

    @property
    def done(self) -> bool:
        """Whether its run has finished and was tested, and its objects are scored where that is asked for."""
        return self.tested and self.scored

    def summary(self) -> dict:
        """Of the finished run, tested in the place's own views."""
        return stored_summary(self.plan)


def plan_rows(  # noqa: PLR0913 -- the options of jobs/reproduce_tables.py
    tables: list[Table],
    base: Experiment,
    overrides: list[str],
    dataset: str,
    seeds: list[int],
    selected: list[str] | None = None,
    lenient: bool = False,
    test: ObjectTest | None = None,
    show: Callable[[str, int, int, str], None] | None = None,
) -> list[Place]:
    """All places of some tables, those that cannot be run with their reason.

    Args:
        base: config of the data set, without the overrides that are given on top of a table's settings.
        selected: names of the rows to run; the others are there only as far as they are done already.
        test: sequences on which the objects of every run are scored.
        lenient: rows that the config, the data or the backbone refuse are missing for that reason, as long as some can
            be run.

    Raises:
        InputError: a selected row exists in no table, or the config or the data refuse a selected row.
    """
    check_rows(tables, selected)
    plans, places, refused = Plans(), [], []
    total = sum(len(table.rows) for table in tables) * len(seeds)
    for table in tables:
        for row in table.rows:
            for seed in seeds:
                if reason := PUBLISHED if row.published else row.missing.get(dataset):
                    places.append(Place(table, row, seed, None, reason))
                    continue
                try:
                    found = plans(row_config(table, row, base, overrides, dataset, seed))
                except InputError as error:
                    wanted = selected is None or row.name in selected
                    if wanted and not lenient:
                        raise
                    refused.append(error)
                    places.append(
                        Place(table, row, seed, None, str(error) if wanted else f"left out by --rows ({error})")
                    )
                    continue
                reason = None if selected is None or row.name in selected else "left out by --rows"
                foreign = tuple(one for one in left_out(table, row, base, overrides, dataset) if one in overrides)
                mine = test and replace(test, discovery=table.discovers)
                places.append(Place(table, row, seed, found, reason, mine, foreign))
                if show:
                    show("plan rows", len(places), total, table.name)
    if refused and not any(place.plan for place in places):
        raise refused[0]
    return places


def said_of_left_out(places: list[Place]) -> list[str]:
    """For each row without some of the user's overrides: which, and why."""
    return [
        f"{place.row.name}: without {' '.join(place.left_out)}, which is of the method that the row replaces"
        for place in {place.row.name: place for place in places if place.left_out}.values()
    ]


def to_run(places: list[Place]) -> list[Place]:
    """Places to be trained or tested, each piece of work once: the first place that has it, or that asks for more."""
    runs: dict[tuple, Place] = {}
    for place in places:
        if place.done or place.reason is not None:
            continue
        if place.work not in runs or (place.test and place.test.discovery):
            runs[place.work] = place
    return list(runs.values())


def decode_cpus(places: list[Place]) -> float:
    """CPUs that each row needs beside its own: those of a decode task, where the method of one takes frames."""
    return max((place.plan.config.stream.decode_cpus for place in places if place.plan.takes_frames), default=0.0)


def concurrency(asked: int | None, cpus: float, gpus: float, decode: float = 0.0) -> int:
    """How many rows train at once: as asked, else as many as the nodes within reach have room for.

    Args:
        decode: as `decode_cpus`; rows that took them would wait for their frames for ever.

    Raises:
        InputError: not even one fits.
    """
    there = within_reach()
    fits = sum(node.room(cpus + decode, gpus) for node in there)
    if fits < 1:
        found = ", ".join(f"{node.cpus:g} CPUs and {node.gpus:g} GPUs" for node in there)
        wanted = f"{cpus:g} CPUs and {gpus:g} GPUs a row"
        wanted += f", beside {decode:g} CPUs (stream.decode_cpus) for its frames" if decode else ""
        raise InputError(
            f"--cpus-per-row, --gpus-per-row: {wanted}, which no node has (there are nodes of {found}); ask for less"
        )
    return int(min(asked or fits, fits, MOST_AT_ONCE))


def train_rows(  # noqa: PLR0913 -- the options of jobs/reproduce_tables.py
    places: list[Place],
    code_version: str,
    parent_of: Callable[[Place], str | None],
    at_once: int,
    cpus: float,
    gpus: float,
    show: Callable[[str, int, int, str], None],
) -> Iterator[tuple[Place, str | None]]:
    """Train places as Ray tasks, `at_once` at a time, one at a time of those that are one run in several views; yields
    each as it ends, with one line where it failed.

    Args:
        parent_of: MLflow run that a place's run is to be a child of.
        cpus, gpus: of a row; fractions of a GPU let several rows share one, `cpus` are also torch's threads.
    """
    task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)(_train)
    waiting, running, ended = list(places), {}, 0
    for caution in dict.fromkeys(said for place in places if not place.trained for said in cautions(place.plan)):
        log.warning(caution)
    while waiting or running:
        while len(running) < at_once and (place := _free(waiting, running.values())):
            waiting.remove(place)
            parent = noted_parent(place, parent_of(place))
            placed = place.plan.placed.model_copy(update={"num_workers": 0, "trainer_gpus": gpus})
            running[
                task.remote(replace(place.plan, placed=placed), place.test, code_version, parent, max(1, int(cpus)))
            ] = place
        done, _ = ray.wait(list(running), num_returns=1, timeout=NOTE_EVERY)
        for reference in done:
            place = running.pop(reference)
            try:
                problem = ray.get(reference)
            except ray.exceptions.RayError as error:  # the process died, and died again
                problem = f"its process died ({(str(error).strip().splitlines() or [type(error).__name__])[0]})"
            ended += 1
            tell(show, place, problem, ended, len(places))
            yield place, problem
        under_way = ", ".join(f"{place.row.name}/{place.seed}" for place in running.values())
        show("rows trained", ended, len(places), under_way)


def tell(show: Callable, place: Place, problem: str | None, ended: int, total: int) -> None:
    """That a row has ended and what it reached, in a line that stays."""
    where = f"{place.table.name}, row {place.row.name}, seed {place.seed}"
    if problem:
        log.warning("%s failed: %s", where, problem)
        return
    values = [(metric, metric.value(place.summary())) for metric in (TOP1, METRICS["top5"])]
    if place.test and (path := place.test.result(place.plan)).exists():
        values.append((JF, JF.scale * json.loads(path.read_text())["scores"][JOINT]))
    reached = ", ".join(f"{metric.label} {metric.text(value)}" for metric, value in values if value is not None)
    mark = toy_mark(place.plan.manifest.classes)
    display.tell(show, f"{where}: {reached or 'done'}{mark}; {ended} of {total}")


def _free(waiting: list[Place], running: Collection[Place]) -> Place | None:
    """The first place whose run nobody is at."""
    busy = {place.folder for place in running}
    return next((place for place in waiting if place.folder not in busy), None)


def _train(plan: Plan, test: ObjectTest | None, code_version: str, parent: str | None, threads: int) -> str | None:
    """`train_row` in a Ray task."""
    torch.set_num_threads(threads)
    return train_row(plan, test, code_version, parent)


def train_row(
    plan: Plan, test: ObjectTest | None, code_version: str, parent: str | None, turns: Turns | None = None
) -> str | None:
    """One row under one seed; -> None, or why it failed, in one line (the traceback is left in its folder).

    A run that has finished is not trained again; what may be missing is the score of its objects.
    """
    (plan.folder / "error.txt").unlink(missing_ok=True)
    try:
        summary = run_experiment(plan, code_version, held=turns, parent=parent)
        if test is not None and has_objects(plan):
            for one in test.every:
                run_object_test(one, plan, summary)
            if test.discovery:
                run_discovery_test(test, plan)
    except InputError as error:
        return " ".join(str(error).split())
    except (
        Exception
    ) as error:  # a row that fails must not end the table: it is named as failed, with its traceback kept
        plan.folder.mkdir(parents=True, exist_ok=True)
        (plan.folder / "error.txt").write_text(traceback.format_exc())
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]} (see {plan.folder.name}/error.txt)"
    return None


def noted_parent(place: Place, parent: str | None) -> str | None:
    """The parent that a run has had from its first start on; noted before it starts, so that no kill can lose it."""
    mark = place.folder / PARENT
    if not mark.exists():
        place.folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(json.dumps(marks() | {"run_id": parent}) + "\n")
    return own_parent(place)


def own_parent(place: Place) -> str | None:
    """Id of the MLflow run that a place's run was made a child of, if by a table."""
    return read_marked(place.folder / PARENT, "delete it").get("run_id")
