"""How long a newcomer waits: help, refusals, the first epoch of a training, an evaluation.

    python benchmarks/newcomer.py --repeat 5

Whole commands, from their start to their end; of the training until its first epoch is told. Medians of wall-clock
seconds (min-max), on toy data of 256 training clips that are made first.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
WORDS = {
    "help": ["train", "--help"],
    "a mistyped option": ["train", "--confg", "toy"],
    "a mistyped key": ["train", "--config", "toy", "training.epoch=3"],
    "a path that is not there": ["train", "data.root=nowhere"],
    "a mistyped table": ["reproduce", "--table", "loses"],
    "a checkpoint that is not there": ["evaluate", "nowhere"],
}


def call(name: str, *arguments: str) -> list[str]:
    """The command line of a job."""
    return [sys.executable, str(REPOSITORY / "jobs" / f"{name}.py"), *arguments]


def seconds(command: list[str], folder: str) -> float:
    """Wall-clock seconds of a command, whose exit code may be anything."""
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, capture_output=True)
    return time.perf_counter() - started


def first_epoch(command: list[str], folder: str) -> tuple[float, float]:
    """Seconds until a training has told its first epoch, and until its end."""
    started, first = time.perf_counter(), None
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as job:
        for line in job.stderr or ():
            if first is None and " epoch 1/" in line and ": loss" in line:
                first = time.perf_counter() - started
    if job.returncode or first is None:
        sys.exit(f"the training ended with exit code {job.returncode}")
    return first, time.perf_counter() - started


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repeat", type=int, default=5, help="of help and refusals; trainings are run once")
    repeat = options.parse_args().repeat
    os.environ.pop("RAY_ADDRESS", None)
    with tempfile.TemporaryDirectory(prefix="newcomer-") as folder:
        found = {name: [seconds(call(*words), folder) for _ in range(repeat)] for name, words in WORDS.items()}
        subprocess.run(call("make_toy", "toy", "--train", "256", "--validation", "64"), cwd=folder, check=True)
        common = ["data.root=toy", "name=mine", "training.epochs=2"]
        first, whole = first_epoch(call("train", "--config", "toy", *common), folder)
        found |= {"the first epoch of a training": [first], "two epochs and the end": [whole]}
        found["evaluate"] = [seconds(call("evaluate", "mine"), folder)]
    for name, values in found.items():
        spread = f" ({min(values):.2f}-{max(values):.2f})" if len(values) > 1 else ""
        print(f"| {name} | {statistics.median(values):.2f}{spread} |")


if __name__ == "__main__":
    main()
