"""Much more than the object store holds goes through a training: the store stays bounded,
and nothing is spilled to disk.
"""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import ray
from ray._private.internal_api import node_stats

from objadapt.config_file import load_config
from objadapt.data.manifest import build_manifest
from objadapt.plan import plan
from objadapt.training.trainer import train

pytestmark = pytest.mark.cluster

STORE = 80 * 2**20  # bytes; Ray's least is 75 MiB
PLATFORM = Path(__file__).resolve().parents[2] / "platform"
SIZE, FRAMES, EPOCHS = 160, 8, 15
SETTINGS = [
    f"transform.size={SIZE}",
    f"sampling.frames={FRAMES}",
    f"training.epochs={EPOCHS}",
    "training.validate_every=5",
    "training.batch_size=16",
    "stream.clips_per_task=4",
    "tracking.uri=null",
]


def watch(ended: threading.Event, seen: list) -> None:
    """Ten times a second: bytes in the object store, beside it for want of room, spilled and created since it began."""
    (node,) = ray.nodes()
    while not ended.wait(0.1):
        stats = node_stats(node["NodeManagerAddress"], node["NodeManagerPort"], include_memory_info=False).store_stats
        seen.append(
            [
                stats.object_store_bytes_used,
                stats.object_store_bytes_fallback,
                stats.spilled_bytes_total,
                stats.cumulative_created_bytes,
            ]
        )


def stream_through(config_file: str, output: str) -> dict:
    """Train in this process on a Ray whose object store has `STORE` bytes; -> what `watch` saw,
    and what went through.
    """
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=STORE,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(PLATFORM)}},
    )
    config = load_config(config_file, [*SETTINGS, f"output={output}"])
    experiment = plan(config, build_manifest(config.data, config.seed))
    ended, seen = threading.Event(), []
    watcher = threading.Thread(target=watch, args=(ended, seen))
    watcher.start()
    result = train(experiment)
    ended.set()
    watcher.join()
    ray.shutdown()
    return {
        "seen": seen,
        "epochs": result["state"]["epoch"],
        "counts": result["counts"],
        "val_clips": result["val_clips"],
    }


def test_a_training_on_several_times_the_store_spills_nothing(tiny_config, tmp_path):
    """In a process of its own, since this one may have a Ray with a larger store."""
    environment = os.environ | {"PYTHONPATH": str(PLATFORM)}
    environment.pop("RAY_ADDRESS", None)
    command = [sys.executable, __file__, tiny_config, tmp_path / "outputs", tmp_path / "found.json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["epochs"] == EPOCHS and found["val_clips"] == 16 and found["counts"]["quarantined"] == 0
    used, beside, spilled, created = zip(*found["seen"], strict=False)
    assert max(created) > 4 * STORE
    assert max(used) > 0.05 * STORE, "the samples were taken while clips were in the store"
    assert max(used) < 0.8 * STORE
    assert max(spilled) == 0 and max(beside) == 0


if __name__ == "__main__":
    config_file, output, found = sys.argv[1:]
    Path(found).write_text(json.dumps(stream_through(config_file, output)))
