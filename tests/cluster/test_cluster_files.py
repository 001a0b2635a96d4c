"""cluster.yaml, cluster.onprem.yaml, cluster.kuberay.yaml and the Dockerfile: valid, pinned, closed, without secrets.

Ray's own schema judges the first two. KubeRay's CRD is not at hand where tests run: the RayJob is held against the
fields that KubeRay's API reference names (v1.6) and the Kubernetes ones that are used, unknown fields refused, as the
CRD refuses them.
"""

import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from objadapt.config_file import load_config
from objadapt.pipeline.automatic import place
from objadapt.pipeline.placement import Nodes, lacking, nodes_to_come, placement

REPOSITORY = Path(__file__).resolve().parents[2]
LAUNCHER = ["cluster.yaml", "cluster.onprem.yaml"]
FILES = [*LAUNCHER, "cluster.kuberay.yaml", "Dockerfile"]
SECRET = re.compile(
    # key ids, keys, tokens, URLs with passwords
    r"AKIA[0-9A-Z]{16}|-----BEGIN|\b[0-9a-f]{32,}\b|://[^/\s:@]+:[^/\s@]+@"
    r"|(?i:password|passwd|secret_?key|access_key|api_key|RAY_AUTH_TOKEN)\s*[:=]"
)


def text(name: str) -> str:
    return (REPOSITORY / name).read_text()


def tree(name: str) -> dict:
    return yaml.safe_load(text(name))


def pinned(package: str) -> str:
    return re.search(rf"^{package}==(\S+)$", text("constraints.txt"), re.MULTILINE)[1]


def commands(name: str) -> list[str]:
    return [command for key, value in tree(name).items() if key.endswith("_commands") for command in value]


# ---- Ray's cluster launcher


@pytest.mark.parametrize("name", LAUNCHER)
def test_ray_accepts_the_file(name):
    validate_config(prepare_config(tree(name)))


@pytest.mark.parametrize("damage", [{"avaliable_node_types": {}}, {"max_workers": "many"}, {"max_workers": -1}])
def test_ray_would_refuse_a_damaged_one(damage):
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config(tree("cluster.yaml") | damage))


def test_the_head_offers_no_cpu():
    prepared = prepare_config(tree("cluster.yaml"))
    head = prepared["available_node_types"][prepared["head_node_type"]]
    assert head["resources"] == {"CPU": 0} and head["max_workers"] == 0
    for name in LAUNCHER:
        starts = [command for command in tree(name)["head_start_ray_commands"] if "ray start --head" in command]
        assert len(starts) == 1 and "--num-cpus=0" in starts[0]
        assert not any("--num-cpus" in command for command in tree(name)["worker_start_ray_commands"])


def test_workers_have_limits_and_are_spot_machines():
    config = tree("cluster.yaml")
    types = {name: node for name, node in config["available_node_types"].items() if name != config["head_node_type"]}
    # some decode, some encode and train
    assert {"GPU" in node["resources"] for node in types.values()} == {
        False,
        True,
    }
    for node in types.values():
        assert 0 <= node["min_workers"] < node["max_workers"] <= config["max_workers"]
        assert node["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in config["available_node_types"][config["head_node_type"]]["node_config"]


def test_nothing_is_open_to_the_world():
    """Node types without groups of their own would get the launcher's, which opens SSH to 0.0.0.0/0."""
    for node in tree("cluster.yaml")["available_node_types"].values():
        assert node["node_config"]["SecurityGroupIds"]
    for name in LAUNCHER:
        assert "0.0.0.0" not in text(name) and "::/0" not in text(name)
        head = " ".join(tree(name)["head_start_ray_commands"])
        assert "--dashboard-host=127.0.0.1" in head and "--allowed-hosts" in head
    assert "EXPOSE" not in text("Dockerfile")


@pytest.mark.parametrize("name", LAUNCHER)
def test_every_ray_start_asks_for_the_token(name):
    """The token is a file of the user, copied to the nodes with its rights narrowed before anything starts."""
    starts = [command for command in commands(name) if "ray start" in command]
    assert len(starts) == 2 and all("RAY_AUTH_MODE=token" in command for command in starts)
    assert tree(name)["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "chmod 600 ~/.ray/auth_token" in tree(name)["setup_commands"][0]


@pytest.mark.parametrize("name", LAUNCHER)
def test_nodes_get_the_pinned_versions(name):
    installs = [command for command in tree(name)["setup_commands"] if "pip install" in command]
    assert any("-r ~/objadapt-setup/requirements.txt" in command for command in installs)
    assert all("-c ~/objadapt-setup/constraints.txt" in command for command in installs)
    for remote, local in tree(name)["file_mounts"].items():
        assert local == remote or (REPOSITORY / local).is_file()
    extra = dict(re.findall(r"\s([A-Za-z0-9_]+)==(\S+)", " ".join(installs)))
    assert extra.get("s3fs", pinned("fsspec")) == pinned("fsspec")  # s3fs accepts its own fsspec only


# ---- all of them


@pytest.mark.parametrize("name", FILES)
def test_no_secret_is_written_down(name):
    assert not SECRET.search(text(name))


@pytest.mark.parametrize(
    "line", ["password: hunter2", "RAY_AUTH_TOKEN=abc", "http://me:pw@host", "f" * 64, "AKIA" + "A" * 16]
)
def test_a_secret_would_be_seen(line):
    assert SECRET.search(line)


@pytest.mark.parametrize("name", [*FILES, "docs/clusters.md"])
def test_files_that_are_named_exist(name):
    named = re.findall(r"(?:jobs|docs)/[\w./-]+\.\w+|cluster\.[\w.]*yaml|(?:requirements|constraints)\.txt", text(name))
    assert named and all((REPOSITORY / path).is_file() for path in named), named


def test_the_image_installs_the_pinned_dependencies_and_is_not_root():
    lines = [line for line in text("Dockerfile").splitlines() if line and not line.startswith("#")]
    assert lines[0].startswith("FROM python:3.11") and sum(line.startswith("FROM") for line in lines) == 1
    assert any("pip install" in line and "constraints.txt" in line and "requirements.txt" in line for line in lines)
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users and users[-1] not in ("root", "0")
    copied = [name for line in lines if line.startswith("COPY") for name in line.split()[1:-1]]
    # nothing of the package, and no secret of the build folder
    assert copied == [
        "requirements.txt",
        "constraints.txt",
    ]


# ---- KubeRay


def fields(required: str = "", **properties) -> dict:
    """Schema of an object with just these fields."""
    return {"type": "object", "properties": properties, "required": required.split(), "additionalProperties": False}


STRING, NUMBER, FLAG = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
STRINGS = {"type": "object", "additionalProperties": STRING}
QUANTITY = {"anyOf": [NUMBER, {"type": "string", "pattern": r"^\d+(\.\d+)?(m|[KMGT]i?)?$"}]}
QUANTITIES = {"type": "object", "additionalProperties": QUANTITY}
PROFILE = fields("type", type={"enum": ["RuntimeDefault", "Localhost", "Unconfined"]})
CONTAINER = fields(
    "name image",
    name=STRING,
    image=STRING,
    resources=fields(requests=QUANTITIES, limits=QUANTITIES),
    securityContext=fields(allowPrivilegeEscalation=FLAG, capabilities=fields(drop={"type": "array", "items": STRING})),
    volumeMounts={"type": "array", "items": fields("name mountPath", name=STRING, mountPath=STRING)},
)
CLAIM = fields("claimName", claimName=STRING)
VOLUME = fields("name", name=STRING, persistentVolumeClaim=CLAIM, emptyDir=fields(medium=STRING))
POD = fields(
    "spec",
    spec=fields(
        "containers",
        containers={"type": "array", "items": CONTAINER, "minItems": 1},
        volumes={"type": "array", "items": VOLUME},
        restartPolicy={"enum": ["Never", "OnFailure", "Always"]},
        automountServiceAccountToken=FLAG,
        securityContext=fields(
            runAsNonRoot=FLAG, runAsUser=NUMBER, runAsGroup=NUMBER, fsGroup=NUMBER, seccompProfile=PROFILE
        ),
    ),
)
HEAD = fields("template rayStartParams", serviceType=STRING, enableIngress=FLAG, rayStartParams=STRINGS, template=POD)
GROUP = fields(
    "groupName template rayStartParams minReplicas maxReplicas",
    groupName=STRING,
    replicas=NUMBER,
    minReplicas=NUMBER,
    maxReplicas=NUMBER,
    rayStartParams=STRINGS,
    template=POD,
)
CLUSTER = fields(
    "headGroupSpec",
    rayVersion=STRING,
    authOptions=fields(mode={"enum": ["disabled", "token"]}),
    enableInTreeAutoscaling=FLAG,
    autoscalerOptions=fields(version={"enum": ["v1", "v2"]}, idleTimeoutSeconds=NUMBER),
    headGroupSpec=HEAD,
    workerGroupSpecs={"type": "array", "items": GROUP},
)
RAY_JOB = fields(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=fields("name", name=STRING),
    spec=fields(
        "entrypoint rayClusterSpec",
        entrypoint=STRING,
        runtimeEnvYAML=STRING,
        shutdownAfterJobFinishes=FLAG,
        ttlSecondsAfterFinished=NUMBER,
        backoffLimit=NUMBER,
        rayClusterSpec=CLUSTER,
        submitterPodTemplate=POD,
    ),
)


@pytest.fixture(scope="module")
def ray_job() -> dict:
    return tree("cluster.kuberay.yaml")


def test_the_ray_job_has_only_fields_that_kuberay_knows(ray_job):
    jsonschema.validate(ray_job, RAY_JOB)


def test_the_ray_job_is_of_the_pinned_ray_with_a_token_and_no_service_outside(ray_job):
    cluster = ray_job["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == pinned("ray") and cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP" and cluster["headGroupSpec"]["enableIngress"] is False
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_no_pod_of_the_ray_job_is_root_and_all_ray_pods_share_the_storage(ray_job):
    cluster = ray_job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for template in [*(group["template"] for group in groups), ray_job["spec"]["submitterPodTemplate"]]:
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["restartPolicy"] == "Never"
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"].keys() == container["resources"]["requests"].keys()
    for group in groups:
        pod = group["template"]["spec"]
        mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        assert mounts == {"shared": "/shared", "memory": "/dev/shm"}
        assert {volume["name"] for volume in pod["volumes"]} == set(mounts)
    gpus = [
        group["template"]["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu", 0) for group in groups
    ]
    assert gpus == [0, 0, 1]


def test_the_ray_jobs_command_is_one_that_train_accepts(ray_job):
    python, script, flag, config, *overrides = ray_job["spec"]["entrypoint"].split()
    assert (python, flag) == ("python", "--config")
    local = [path.removeprefix("/shared/objadapt/") for path in (script, config)]
    assert local[0] == "jobs/train.py"
    experiment = load_config(REPOSITORY / local[1], overrides)
    assert all(place.startswith("/shared/") for place in (experiment.data.root, experiment.output))
    environment = yaml.safe_load(ray_job["spec"]["runtimeEnvYAML"])["env_vars"]
    assert environment["PYTHONPATH"] == "/shared/objadapt/platform"
    workers = ray_job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    limits = [group["template"]["spec"]["containers"][0]["resources"]["limits"] for group in workers]
    there = [
        Nodes(group["groupName"], group["maxReplicas"], float(has["cpu"]), has.get("nvidia.com/gpu", 0))
        for group, has in zip(workers, limits, strict=False)
    ]
    placed = place(experiment, there)
    assert (placed.encoders, placed.encoder_gpus, placed.trainer_gpus) == (4, 0.8, 0.2)  # every GPU that may be there
    assert lacking(placement(placed, 1, placed.encoders), there) is None


@pytest.mark.parametrize("name", ["kinetics400", "something_something_v2", "epic_kitchens_100"])
def test_the_paper_s_data_sets_fit_the_nodes_that_the_launcher_may_start(name):
    there = nodes_to_come(REPOSITORY / "cluster.yaml")
    for overrides, expected in (([], (3, 1, 1, 1)), (["stream.trainer_gpus=0.2"], (4, 0.8, 1, 0.2))):
        stream = place(load_config(REPOSITORY / "jobs" / "configs" / f"{name}.yaml", overrides), there)
        assert (stream.encoders, stream.encoder_gpus, stream.num_workers, stream.trainer_gpus) == expected
        assert lacking(placement(stream, stream.worker_range[0], stream.encoders), there) is None
    assert "GPU" in lacking(placement(stream, 1, 1 + sum(int(node.gpus) * node.number for node in there)), there)
