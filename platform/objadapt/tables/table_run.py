"""Tables from planned rows to what a user gets: train what is missing,
then the outcome as files and as an MLflow parent run.

A table is an MLflow run whose children are its rows under each seed. A run that another table (or nobody) made gets a
light child of its own there, `same_as` the original, so that each table's rows can be compared side by side.
"""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .. import config
from ..backbone import build_backbone
from ..config_file import flat
from ..errors import InputError
from ..evaluation.cost import backbone_macs
from ..files import write_whole
from ..passwords import redact
from ..run_folder import RECORDS, TABLES, store_uri
from ..runs.discovery_test import discovery_metrics, run_discovery_test
from ..runs.earlier import earlier
from ..runs.object_test import given, has_objects, metrics, run_object_test
from ..runs.run import results_folder
from ..stored_format import marks, read_marked
from ..tracking import Tracker, prepare_store
from . import formats
from .comparison import Setting
from .outcome import RowResult, outcome
from .rows import Place, own_parent, said_of_left_out, to_run, train_rows
from .scores import scores_of
from .shared_rows import train_from_one_stream
from .table import Table
from .untrained_rows import MASKS_ALONE, untrained_rows

log = logging.getLogger(__name__)
REMEDY = "delete it, and the same command writes it anew"


@dataclass(frozen=True)
class Packing:
    """How rows share the machines."""

    at_once: int
    cpus: float  # a row
    gpus: float


class TableRun:
    """One table on one data set: its files, and its parent run in MLflow, which the same command goes on in."""

    def __init__(  # noqa: PLR0913 -- what a table is made of
        self,
        table: Table,
        dataset: str,
        base: config.Experiment,
        places: list[Place],
        seeds: list[int],
        said: dict,
        masks: dict[str, Path] | None = None,
    ):
        """`masks`: name -> folder of masks that others made, rows of tables with a column for objects.

        Raises:
            InputError: a newer version wrote the table's files, or they are damaged.
        """
        self.table, self.dataset, self.base, self.said, self.seeds = table, dataset, base, said, seeds
        self.masks = masks if masks and table.shows_objects else {}
        self.places = [place for place in places if place.table is table]
        output = Path(base.output).absolute()
        self.folder = output / TABLES / dataset
        self.uri = store_uri(base.tracking.uri, output)
        self._mark, self._tracker = self.folder / f"{table.name}.mlflow.json", None
        self._marked()  # what a newer version wrote is refused before anything is trained
        read_marked(self.folder / f"{table.name}.json", REMEDY)

    def parent(self) -> str | None:
        """Id of the table's MLflow run, opened when first asked for; None where the store does not answer."""
        if self._tracker is None:
            prepare_store(self.uri)
            self._tracker = self._new_tracker()
            tags = {"table": self.table.name, "dataset": self.dataset, "caption": self.table.caption, **self.said}
            name = f"table {self.table.name} ({self.dataset})"
            before = self._marked().get("run_id")
            self._write_mark(run_id=self._tracker.start(name, tags, {}, before) or before)
        return self._tracker.run_id

    def finish(self, problems: dict[tuple, str], show: Callable | None = None, cpus: float | None = None) -> dict:
        """Write the files, complete the parent run; -> the outcome.

        Args:
            problems: `Place.work` -> why it failed.
            cpus: as of `untrained_rows`.
        """
        results = self.results(problems, show, cpus)
        toy = (Path(self.base.data.root) / "toy.json").exists()
        older = [(place, it) for place in self.places if place.plan and not place.done and (it := earlier(place.plan))]
        test = next((place.test for place in self.places if place.test), None)
        further = [one.name for one in test.others] if test else []
        found = marks() | outcome(self.table, self.dataset, results, self.seeds, further, toy=toy, **self.said)
        for place, it in older:
            where = f"{place.row.name}, seed {place.seed}: {it.folder.name}"
            found["notes"].append(f"stale: {where}, another version of the method ({it.why})")
        found["notes"] += said_of_left_out(self.places)
        paths = formats.write(found, self.folder)
        self.parent()
        self._adopt()
        cells = {
            f"{row['name']}/{metric}{suffix}": cell[part]
            for row in found["rows"]
            for metric, cell in row["metrics"].items()
            for part, suffix in (("mean", ""), ("stderr", "_stderr"))
            if cell[part] is not None
        }
        self._tracker.metrics(cells, step=0)
        for path in paths:
            self._tracker.artifact(path)
        self._tracker.finish()
        return found

    def results(
        self, problems: dict[tuple, str], show: Callable | None = None, cpus: float | None = None
    ) -> dict[str, RowResult]:
        """Row -> what is there of it."""
        results = {row.name: RowResult() for row in self.table.rows}
        for place in self.places:
            result = results[place.row.name]
            if place.plan:
                result.setting = Setting.of(place.plan, place.test)
            if place.done or place.tested and place.reason:  # left out, and shown as far as it is done
                plan, summary = place.plan, place.summary()
                encoder = encoder_gflops(plan.config.backbone, plan.crop, plan.config.sampling.frames)
                encoder = 0.0 if plan.takes_frames else encoder  # it is a part of such a method, and counted there
                result.summaries[place.seed] = summary | {
                    "gflops": encoder + summary["adapter_gflops"],
                    **_objects(place),
                }
                for metric in {claim.metric for claim in self.table.parsed_claims()}:
                    if (scores := scores_of(metric, place, result.summaries[place.seed])) is not None:
                        result.scores.setdefault(metric.name, {})[place.seed] = scores
            elif place.plan is not None and place.work in problems:
                result.failures[place.seed] = problems[place.work]
            else:
                result.missing = place.reason
        results |= untrained_rows(self.places, self.table.untrained, show, cpus)
        test = next((place.test for place in self.places if place.test), None)
        for name, folder in self.masks.items():
            said = {"no_objects": "not measured of masks that others made", "masks_alone": MASKS_ALONE}
            results[name] = RowResult({0: metrics(given(test, folder)) | said}, wanted=1)
        return results

    def _adopt(self) -> None:
        """Give runs that are no child of this table a light child here: parameters, final metrics and `same_as`.

        One that is there already gets the scores of objects that came later.
        """
        parent = self._tracker.run_id
        children, scored = (self._marked().get(key, {}) for key in ("children", "scored"))
        for place in self.places:
            if parent is None or not place.done:
                continue
            # tested in the views that the run itself was finished with
            own = results_folder(place.plan) == place.folder
            name = place.folder.name if own else "/".join((place.folder.name, place.work[1]))
            if own and own_parent(place) == parent:
                continue
            summary, settings, child = place.summary(), place.plan.config, self._new_tracker()
            objects = {f"objects/{key}": value for key, value in _objects(place).items() if key != "no_objects"}
            if name in children:
                if objects.keys() <= set(scored.get(name, [])):
                    continue
                child.run_id = children[name]
                child.metrics(objects, step=summary["epochs"])
                if not child.delivered():
                    continue  # the same command tries again
            else:
                tags = {
                    "mlflow.parentRunId": parent,
                    "same_as": str(summary["mlflow_run_id"]),
                    "identity": place.plan.identity,
                    "row": place.row.name,
                    "seed": str(place.seed),
                    "views": summary["views"],
                }
                params = flat(settings.model_dump(mode="json")) | {"tracking.uri": redact(self.uri)}
                try:
                    children[name] = child.start(f"{settings.name}, seed {place.seed}", tags, params)
                except InputError as error:  # what is trained and written is not lost over it
                    log.warning("the table's rows have no children in MLflow: %s", error)
                    return
                numbers = {k: v for k, v in summary.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
                numbers = {f"final/{key}": value for key, value in numbers.items()}
                child.metrics(numbers | objects, step=summary["epochs"])
                if not child.finish():
                    objects = {}  # the same command tries again
            scored[name] = sorted(objects)
            self._write_mark(children=children, scored=scored)

    def _new_tracker(self) -> Tracker:
        return Tracker(self.uri, self.base.tracking.experiment, self.folder / f"{self.table.name}.{RECORDS}")

    def _marked(self) -> dict:
        """What is remembered of the parent run, if it is in this store."""
        found = read_marked(self._mark, REMEDY)
        return found if found.get("uri") == redact(self.uri) else {}

    def _write_mark(self, **changes) -> None:
        known = self._marked()
        if changes.get("run_id", known.get("run_id")) != known.get("run_id"):
            known = {}  # children of another parent
        content = {"uri": redact(self.uri), **known, **changes, **marks()}
        write_whole(self._mark, json.dumps(content, indent=1) + "\n")


def _objects(place: Place) -> dict:
    """Metrics of a run's objects, or under `no_objects` why there are none."""
    if not has_objects(place.plan):
        return {"no_objects": "no slot attention, so no masks"}
    if place.test is None:
        return {"no_objects": "no annotated sequences given (--davis)"}
    summary, shown = place.summary(), {}
    for one in place.test.every:
        if not place.reason or one.result(place.plan).exists():
            shown |= metrics(run_object_test(one, place.plan, summary), one.name)
    if not place.scored:  # a row that is left out
        return shown | {"no_objects": f"not scored on these sequences: {place.reason}"}
    if place.test.discovery:
        official = run_object_test(place.test, place.plan, summary)
        shown |= discovery_metrics(run_discovery_test(place.test, place.plan), official)
    return shown


def run_tables(
    runs: list[TableRun], code_version: str, packing: Packing | None, show: Callable[[str, int, int, str], None]
) -> Iterator[dict]:
    """Train all places that are not done, each run once.

    Yields the outcome of each table as soon as its rows have ended.

    Args:
        packing: how rows that train from the cache share the machines; None: they train from one stream.
    """
    jobs = to_run([place for run in runs for place in run.places])
    owner = {id(run.table): run for run in runs}
    needs = {id(run): {place.work for place in to_run(run.places)} for run in runs}
    waiting, ended, problems = list(runs), set(), {}

    def complete() -> Iterator[dict]:
        for run in [run for run in waiting if needs[id(run)] <= ended]:
            waiting.remove(run)
            yield run.finish(problems, show, packing and packing.cpus)

    yield from complete()

    def parent_of(place: Place) -> str | None:
        return owner[id(place.table)].parent()

    if packing is None:
        trained = train_from_one_stream(jobs, code_version, parent_of, show)
    else:
        trained = train_rows(jobs, code_version, parent_of, packing.at_once, packing.cpus, packing.gpus, show)
    for place, problem in trained:
        ended.add(place.work)
        if problem:
            problems[place.work] = problem
        yield from complete()


@lru_cache
def encoder_gflops(backbone: config.Backbone, crop: int, frames: int) -> float:
    """GFLOPs (2 x MAC, attention products included) of the backbone over a clip of frames of `crop` x `crop` pixels."""
    return 2e-9 * backbone_macs(build_backbone(backbone), crop, frames)
