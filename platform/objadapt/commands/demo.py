"""The whole way on toy data, in a few minutes on 2 cores: `make demo`.

    python jobs/demo.py
    python jobs/demo.py --output outputs/again

Writes Object Actions as H.264 files, streams and encodes them once with the shipped small CLIP, trains the full method
with Ray Train and meanwhile, in this process, a control row (the same method without a temporal module), evaluates both
and the full one on clips played backwards, scores the objects it found, logs to a local MLflow, prints both. The same
command again goes on, or shows the finished demo.
"""

import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from .. import job
from ..config_file import load_config
from ..data import toy
from ..declared import CONFIGS
from ..errors import InputError
from ..inputs import check_output
from ..run_folder import OBJECTS, SUMMARY, store_uri

if TYPE_CHECKING:
    from ..plan import Plan
    from ..training.progress import Display

MASKS = {
    "slots": "full method's slots",
    "k-means": "k-means on the frozen patches",
    "grid": "a fixed grid",
    "ceiling": "the true masks, in patches",
}


def main():
    options = job.parser(__doc__)
    options.add_argument(
        "--output", default="outputs/demo", help="folder for data, runs, MLflow store and summary.json"
    )
    options.add_argument("--restart", action="store_true", help="delete what an earlier demo left there and start anew")
    arguments = options.parse_args()
    job.refuse_relative("--output", arguments.output)
    check_output(arguments.output, "--output")
    output, took = Path(arguments.output), Laps()
    if arguments.restart and output.exists():
        if not (output / "toy" / "toy.json").exists():
            raise InputError(f"--restart: {output} is not a demo's folder; delete it yourself")
        shutil.rmtree(output)

    with job.stage("loading torch"):
        import torch

        from ..data.manifest import build_manifest
        from ..pipeline.placement_text import training_text
        from ..plan import plan
        from ..runs.evaluate import declare, evaluate_checkpoint
        from ..runs.names import lead_to, link_of
        from ..runs.run import run_experiment
        from ..tracking import page_of
        from ..training.progress import Display, RemoteProgress
        from ..training.trainer import hold_features

    took.lap("loading torch")

    common = [f"data.root={output / 'toy'}", f"output={output}", "tracking.experiment=demo"]
    display = Display()
    for done, total in toy.make(output / "toy", toy.Options(), workers=2):
        display("toy clips", done, total)
    display.close()
    took.lap("toy clips")
    # side by side, on a thread each: two threads are hardly faster than one, and a worker's start costs 20 s
    full = load_config(CONFIGS / "toy.yaml", [*common, "name=full", "stream.trainer_cpus=1"])
    here = ["name=no-temporal-module", "method.temporal=none", "stream.num_workers=0"]
    control = load_config(CONFIGS / "toy.yaml", [*common, *here])
    job.join_cluster()
    with job.stage("looking at the clips"):
        manifest = build_manifest(full.data, full.seed)
        plans = {"full method": plan(full, manifest), "no temporal module": plan(control, manifest)}
    print(training_text(plans["full method"].config, plans["full method"].placed))
    job.start_ray()
    took.lap("starting Ray")
    rows, held = {}, None
    if not all((one.folder / SUMMARY).exists() for one in plans.values()):
        held = hold_features(plans["full method"], display)  # both rows read the same features
    display.close()
    took.lap("encoding")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    beside = Beside(lambda: run_experiment(plans["no temporal module"], job.commit(), held=held))
    with RemoteProgress() as show:
        rows["full method"] = run_experiment(plans["full method"], job.commit(), show, held)
        show.stage("no temporal module, which trains beside it")
        rows["no temporal module"] = beside.result()
    torch.set_num_threads(threads)
    for one in plans.values():
        lead_to(one.folder)
    took.lap("training both rows")
    summary = dict(rows["full method"])
    backwards, _ = evaluate_checkpoint(
        declare(summary["checkpoint"], ["evaluation.reverse=true", "stream.num_workers=0"]), display
    )
    display.close()
    rows["full method, frames backwards"] = backwards
    took.lap("evaluating backwards")
    objects = object_scores(plans["full method"], summary, output / "toy" / "davis", display)
    took.lap("scoring objects")

    print(report(rows, objects))
    link = link_of(plans["full method"].folder) or plans["full method"].folder
    pictures = sorted((plans["full method"].folder / OBJECTS).glob("*[0-9].png"))
    print(f"see them    {job.shown_path(pictures[0])}\n")
    summary |= {
        "objects_jf": {name: found["scores"]["J&F-Mean"] for name, found in objects.items()},
        "seconds": round(took.total, 1),
        "stage_seconds": {name: round(seconds, 1) for name, seconds in took.seconds.items()},
        "training_seconds": rows["full method"]["seconds"],
        "control_top1": rows["no temporal module"]["top1"],
        "backwards_top1": backwards["top1"],
        "data": "Object Actions (toy)",
    }
    job.write_json(str(output / SUMMARY), summary)
    print(
        f"{summary['num_train_clips']} training and {summary['num_val_clips']} validation clips,"
        f" {summary['seconds']:.0f} s in all:"
    )
    print("".join(f"  {name:<30}{seconds:>5.0f} s\n" for name, seconds in took.seconds.items()))
    print(f"summary     {output / SUMMARY}\ncheckpoint  {job.shown_path(summary['checkpoint'])}")
    print(f"MLflow      {page_of(store_uri(None, output), full.tracking.experiment)}")
    sample = quote(job.shown_path(next((output / "toy" / "videos").glob("*.mp4"))))
    print(f"next\n  {job.shown_app(quote(str(output)))}")
    print(f"  {job.shown('predict')} {quote(job.shown_path(link))} {sample} --overlay {quote(str(output / 'seen'))}")


def report(rows: dict[str, dict], objects: dict[str, dict]) -> str:
    """Accuracies by row, and J&F of the slots beside masks that need no training."""
    full = rows["full method"]
    lines = [
        f"\nObject Actions (toy data): {len(toy.ACTIONS)} actions in time-reversed pairs, {full['views']} views\n",
        f"{'':<32}{'top-1':>8}{'top-5':>8}{'parameters':>13}",
        *(
            f"{name:<32}{100 * row['top1']:>8.1f}{100 * row['top5']:>8.1f}{summary_parameters(row):>13}"
            for name, row in rows.items()
        ),
        f"{'chance':<32}{100 * full['chance']:>8.1f}{500 * full['chance']:>8.1f}\n",
        f"Objects of {objects['slots']['sequences']} validation clips, J&F (%) by DAVIS's official protocol; no mask is"
        " seen in training\n",
    ]
    shares = {name: 100 * found["scores"]["J&F-Mean"] for name, found in objects.items()}
    for name, found in objects.items():
        low, high = (f"{100 * one:.1f}" for one in found["interval"])  # there are many sequences
        lines.append(f"{MASKS[name]:<32}{shares[name]:>8.1f}   95 % interval {low} to {high}")
    told = f"slots J&F {shares['slots']:.1f}, k-means {shares['k-means']:.1f}, ceiling {shares['ceiling']:.1f}"
    return "\n".join([*lines, "", told])


class Laps:
    """Wall-clock seconds of one stage after the other."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self.last = time.monotonic()

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    def lap(self, name: str) -> None:
        """A stage has ended."""
        now = time.monotonic()
        self.seconds[name], self.last = now - self.last, now


class Beside(threading.Thread):
    """A call that runs meanwhile; Ctrl-C does not wait for it."""

    def __init__(self, call: Callable[[], dict]):
        super().__init__(daemon=True)
        self.call, self.outcome = call, Future()
        self.start()

    def run(self) -> None:
        try:
            self.outcome.set_result(self.call())
        except BaseException as error:  # told in the thread that asks
            self.outcome.set_exception(error)

    def result(self) -> dict:
        """What the call gave, or raised, as soon as it is there."""
        return self.outcome.result()


def object_scores(full: "Plan", summary: dict, davis: Path, display: "Display") -> dict[str, dict]:
    """The trained slots' masks and two that cost nothing, scored against the toy data's own."""
    from ..runs.object_test import encode_for, object_test, run_object_test, untrained

    test = object_test(davis)
    encode_for(test, [full], display)
    display.stage("score objects: slots")
    found = {"slots": run_object_test(test, full, summary)}
    for kind in ("k-means", "grid", "ceiling"):
        display.stage(f"score objects: {kind}")
        found[kind] = untrained(test, full, kind)
    display.close()
    return found


def summary_parameters(row: dict) -> str:
    """Tunable parameters of a row; a control that is no training of its own has none to show."""
    return f"{row['tunable_parameters']:,}" if "tunable_parameters" in row else ""
