"""Jobs on a Ray that declares 1, 2 and 4 GPUs: they are placed on, told,
and asked for in a way that Ray can grant at once.

No GPU is behind the declaration, so what computes there is not reached: the jobs end in one line that says so.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parents[2]
DRIVER = """
import contextlib, io, json, runpy, sys
import ray
from ray.cluster_utils import Cluster
from objadapt.config_file import load_config
from objadapt.pipeline.automatic import place
from objadapt.pipeline.placement import placement

config, output = sys.argv[1:]
sys.path.insert(0, "<jobs>")  # as python does for a script
found = {}

def job(name, *arguments):
    out, err, code = io.StringIO(), io.StringIO(), 0
    sys.argv = [f"{name}.py", *arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(f"<jobs>/{name}.py", run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}

def granted(*overrides):
    # whether Ray can give all parts their places at the same time
    stream = place(load_config(config, overrides))
    parts = placement(stream, stream.num_workers, stream.encoders)
    bundles = [
        {"CPU": cpus} | ({"GPU": gpus} if gpus else {})
        for _, number, cpus, gpus in parts.itertuples(index=False) for _ in range(number)
    ]
    group = ray.util.placement_group(bundles)
    ready = group.wait(60)
    ray.util.remove_placement_group(group)
    return ready

common = ["--config", config, f"output={output}", "stream.num_workers=auto"]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "num_gpus": 1})
try:
    ray.init(address=cluster.address, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": "<platform>"}})
    for gpus, more in ((1, None), (2, 1), (4, 2)):
        if more:
            cluster.add_node(num_cpus=4, num_gpus=more)
            cluster.wait_for_nodes()
        found[f"dry {gpus}"] = job("train", *common, "--dry-run")
        found[f"granted {gpus}"] = granted("stream.num_workers=auto")
        found[f"hold {gpus}"] = job("train", *common, "--dry-run", "stream.hold=true")
    found["idle"] = job("train", *common, "--dry-run", "stream.encoders=1")
    found["too many"] = job("train", *common, "--dry-run", "stream.encoders=9", "stream.encoder_gpus=1")
    found["extract"] = job("extract_features", *common, "--dry-run", f"stream.cache={output}/features")
    rates = ("decode", "encode", "train", "read", "cache_bytes")
    found["plan"] = job("plan", *common, "--nodes", "1", "--cpus", "16", "--gpus", "4",
                        *(word for rate in rates for word in ("--rate", f"{rate}=10")))
    tables = ["--table", "losses", "--dataset", config, "--output", f"{output}/tables", "--dry-run",
              "--rows", "none,distillation,temporal,both"]
    found["rows"] = job("reproduce", *tables)
    found["rows set"] = job("reproduce", *tables, "stream.trainer_gpus=0.2", "--cpus-per-row", "1")
    found["rows given"] = job("reproduce", *tables, "stream.trainer_gpus=0.2", "--gpus-per-row", "0.5")
    found["train"] = job("train", *common)
    found["rows run"] = job("reproduce", *(word for word in tables if word != "--dry-run"))
finally:
    ray.shutdown()
    cluster.shutdown()
print(json.dumps(found))
""".replace("<jobs>", str(REPOSITORY / "jobs")).replace("<platform>", str(REPOSITORY / "platform"))


@pytest.fixture(scope="module")
def found(tiny_config, tmp_path_factory) -> dict:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["PYTHONPATH"] = str(REPOSITORY / "platform")
    command = [sys.executable, "-c", DRIVER, str(tiny_config), str(tmp_path_factory.mktemp("out"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def lines(job: dict) -> list[str]:
    """What a job says of places; the tiny config's few steps an epoch are warned of, too, and not meant here."""
    said = (line for line in job["out"].splitlines() if line.startswith(("placement ", "warning ")))
    return [line for line in said if "training.batch_size" not in line]


@pytest.mark.parametrize(
    ("gpus", "line"),
    [
        (1, "placement  1 encoder on 0.5 GPU in bf16, 1 training worker on 0.5 GPU"),
        (2, "placement  1 encoder on 1 GPU in bf16, 1 training worker on 1 GPU"),
        (4, "placement  3 encoders on 3 GPUs in bf16, 1 training worker on 1 GPU"),
    ],
)
def test_all_gpus_are_placed_on_and_granted(found, gpus, line):
    assert found[f"dry {gpus}"]["code"] == 0, found[f"dry {gpus}"]["err"]
    assert lines(found[f"dry {gpus}"]) == [line, "placement (more decode tasks run wherever CPUs are left)"]
    assert found[f"granted {gpus}"] is True


@pytest.mark.parametrize(
    ("gpus", "workers"),
    [(1, "1 training worker on 1 GPU"), (2, "2 training workers on 2 GPUs"), (4, "4 training workers on 4 GPUs")],
)
def test_held_features_leave_the_gpus_to_the_workers(found, gpus, workers):
    encoders = f"{gpus} encoder{'s' * (gpus > 1)} on {gpus} GPU{'s' * (gpus > 1)}"
    assert lines(found[f"hold {gpus}"])[0] == f"placement  first {encoders} in bf16, then {workers}"


def test_the_precision_makes_a_run_of_its_own(found, tiny_plan):
    folder = re.search(r"^run +(\S+)", found["dry 1"]["out"], re.MULTILINE).group(1)
    assert folder == re.search(r"^run +(\S+)", found["dry 4"]["out"], re.MULTILINE).group(1)
    assert Path(folder).name != tiny_plan().folder.name  # float32, on this machine's CPUs
    assert Path(folder).name == tiny_plan("backbone.precision=bfloat16", "stream.encoder_gpus=1").folder.name


def test_idle_gpus_and_too_many_requests_are_told(found):
    assert (
        lines(found["idle"])[1]
        == "warning    2 of 4 GPUs are left idle: stream.encoders=1 is set; auto uses what it can"
    )
    assert (
        found["too many"]["code"] == 2
        and "9 encoders" in found["too many"]["err"]
        and "GPUs" in found["too many"]["err"]
    )


def test_extraction_plan_and_tables_say_the_same(found):
    assert lines(found["extract"]) == ["placement  4 encoders on 4 GPUs in bf16"]
    assert lines(found["plan"])[0] == lines(found["dry 4"])[0], found["plan"]["err"]
    assert lines(found["rows"]) == [
        "placement  4 encoders on 4 GPUs in bf16",
        "placement  4 rows at a time, each on 1 GPU (an even share of 4 GPUs)",
    ], found["rows"]["err"]
    assert lines(found["rows set"])[1:] == [
        "placement  4 rows at a time, each on 0.2 GPU (by stream.trainer_gpus)",
        "warning    3 of 4 GPUs are left idle by 4 rows at a time",
    ]
    assert "each on 0.5 GPU (by --gpus-per-row, in place of stream.trainer_gpus=0.2)" in lines(found["rows given"])[1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here, so the declared ones can be used")
@pytest.mark.parametrize("job", ["train", "rows run"])
def test_gpus_that_torch_cannot_use_end_a_job_in_one_line_before_any_work(found, job):
    said = found[job]["err"].strip().splitlines()
    assert found[job]["code"] == 2 and said[-1].startswith("error: stream: Ray counts a GPU on "), found[job]["err"]
    assert "torch there cannot use it" in said[-1] and "stream.encoder_gpus=0 stream.trainer_gpus=0" in said[-1]
    assert not any("Traceback" in line for line in said)
