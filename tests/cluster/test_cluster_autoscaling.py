"""The node types of cluster.yaml under Ray's own autoscaler: what a training and what a GPU task brings up.

Nodes are raylets of this machine: Ray's fake provider starts a process where AWS would start a machine. The cluster is
made by hand, because `ray.cluster_utils.AutoscalingCluster` says `ray stop`, which ends every cluster of the machine,
and reads a file that Ray 2.60's wheel lacks.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FAKE_HEAD_NODE_TYPE
from ray.autoscaler._private.util import prepare_config
from ray_head import LOOPBACK, end, head_command

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parents[2]
WAIT = 120  # seconds
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
ASK = """
import json, ray, sys
ray.init(address=sys.argv[1], log_to_driver=False)
def nodes():
    return [{"id": node["NodeID"], "CPU": node["Resources"].get("CPU", 0), "GPU": node["Resources"].get("GPU", 0)}
            for node in ray.nodes() if node["Alive"]]
@ray.remote(num_cpus=0.5, num_gpus=int(sys.argv[2]))
def where():
    return ray.get_runtime_context().get_node_id()
found = {"before": nodes()}
if int(sys.argv[2]):
    found["run on"] = ray.get(where.remote())
print(json.dumps(found | {"after": nodes()}))
"""


def config(port: int) -> dict:
    """cluster.yaml's node types and limits under the fake provider; 2 CPUs in place of many,
    GPUs that are only said to be.
    """
    ours = prepare_config(yaml.safe_load((REPOSITORY / "cluster.yaml").read_text()))
    types = {}
    for name, node in ours["available_node_types"].items():
        fake = FAKE_HEAD_NODE_TYPE if name == ours["head_node_type"] else name
        resources = node["resources"] | {"CPU": min(node["resources"]["CPU"], 2), "object_store_memory": 100_000_000}
        limits = {key: node[key] for key in ("min_workers", "max_workers")}
        types[fake] = {"resources": resources, "node_config": {}} | limits
    provider = {
        "type": "external",
        "module": PROVIDER,
        "gcs_address": f"127.0.0.1:{port}",
        "head_node_id": FAKE_HEAD_NODE_ID,
        "launch_multiple": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    }
    empty = {key: [] for key in ours if key.endswith("_commands")} | {"auth": {}, "docker": {}, "file_mounts": {}}
    kept = {key: ours[key] for key in ("cluster_name", "max_workers", "upscaling_speed", "idle_timeout_minutes")}
    return (
        kept
        | empty
        | {
            "cluster_synced_files": [],
            "provider": provider,
            "available_node_types": types,
            "head_node_type": FAKE_HEAD_NODE_TYPE,
        }
    )


def end_nodes(temporary: Path) -> None:
    """End what is left in a cluster's folder by process id: the provider's nodes outlive the head."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile
            if str(temporary).encode() in (process / "cmdline").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)


@dataclass(frozen=True)
class Grown:
    """A cluster of which the head alone was started, as it grew: nodes as lists of id, CPU, GPU."""

    at_first: list[dict]
    training: str  # what jobs/train.py, given to the empty cluster, logged
    refused: str  # what it said of a placement that no number of nodes will hold
    trained: list[dict]  # nodes after it
    gpu: dict  # before, after and "run on" of a task with a GPU


@pytest.fixture(scope="module")
def grown(environment, tiny_config, tmp_path_factory) -> Iterator[Grown]:
    folder = tmp_path_factory.mktemp("autoscaling")
    file = folder / "cluster.json"
    more = ["--num-cpus=0", "--object-store-memory=100000000", f"--autoscaling-config={file}"]
    command, port, _, temporary = head_command(*more)
    file.write_text(json.dumps(config(port)))
    environment = (
        environment
        | LOOPBACK
        | {
            "RAY_FAKE_CLUSTER": "1",
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_enable_autoscaler_v2": "1",
            "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
            "RAY_NODE_TYPE_NAME": FAKE_HEAD_NODE_TYPE,
        }
    )
    with open(folder / "head.log", "w") as log:
        head = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        wait_for(port, head)
        # as on the launcher's head node, where drivers of submitted jobs run
        (folder / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(config(port)))
        environment |= {"RAY_ADDRESS": f"127.0.0.1:{port}", "HOME": str(folder)}

        def run(*command: str) -> subprocess.CompletedProcess:
            return subprocess.run(
                [sys.executable, *command],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=2 * WAIT,
            )

        def ask(gpus: int) -> dict:
            done = run("-c", ASK, f"127.0.0.1:{port}", str(gpus))
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout.splitlines()[-1])

        at_first = ask(0)["after"]
        train = [
            str(REPOSITORY / "jobs" / "train.py"),
            "--config",
            str(tiny_config),
            f"output={folder}/out",
            "tracking.uri=null",
        ]
        refused = run(*train, "stream.encoder_gpus=1", "stream.encoders=9", "--dry-run")
        no_gpu = ["stream.encoder_gpus=0", "stream.trainer_gpus=0"]  # those of the nodes to come are declared, not real
        training = run(*train, "stream.num_workers=1", *no_gpu)
        assert (refused.returncode, training.returncode) == (2, 0), refused.stderr + training.stderr
        gpu = ask(1)
        yield Grown(at_first, training.stderr, refused.stderr, gpu["before"], gpu)
    finally:
        end(head)
        end_nodes(temporary)
        shutil.rmtree(temporary, ignore_errors=True)


def wait_for(port: int, head: subprocess.Popen) -> None:
    """Until the head takes connections."""
    until = time.monotonic() + WAIT
    while time.monotonic() < until:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert head.poll() is None, "the head ended at its start"
        time.sleep(0.1)
    pytest.fail("the head takes no connections")


def test_the_head_alone_runs_at_first_and_offers_no_cpu(grown):
    assert [node["CPU"] for node in grown.at_first] == [0]


def test_a_training_waits_for_nodes_without_gpus_which_it_brings_up(grown):
    assert "waiting for the nodes that the autoscaler may start" in grown.training
    added = [node for node in grown.trained if node not in grown.at_first]
    assert added and {(node["CPU"], node["GPU"]) for node in added} == {(2, 0)}


def test_a_placement_that_all_nodes_together_would_not_hold_is_refused(grown):
    assert "9 encoders" in grown.refused and "need 9 GPUs, the cluster has 4;" in grown.refused


def test_a_gpu_task_brings_up_a_node_with_one(grown):
    added = [node for node in grown.gpu["after"] if node not in grown.gpu["before"]]
    assert [(node["CPU"], node["GPU"]) for node in added] == [(2, 1)]
    assert grown.gpu["run on"] == added[0]["id"]
