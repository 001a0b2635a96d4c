"""The Grafana board: whole in itself, and every expression finds numbers on a live Ray."""

import ast
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import ray
import yaml
from ports import free_port
from ray.dashboard.modules.metrics.dashboards import default_dashboard_panels

REPOSITORY = Path(__file__).resolve().parents[2]
GRAFANA = REPOSITORY / "dashboards" / "grafana"
METRICS = REPOSITORY / "platform" / "objadapt" / "pipeline" / "metrics.py"
BOARDS = sorted((GRAFANA / "boards").glob("*.json"))
VARIABLES = {"$session": ".*", "$run": ".*", "$__rate_interval": "20s", "$__range": "10m"}
OF_GPUS = {"ray_node_gpus_utilization", "ray_node_gram_used"}  # exported only where there is one
PATIENCE = 120  # seconds until a number that does not come is given up; Ray exports every 10


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def expressions() -> list[tuple[str, str]]:
    """(panel, PromQL) of all boards."""
    panels = [panel for path in BOARDS for panel in read(path)["panels"]]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]


def names(expression: str) -> set[str]:
    """Metrics that an expression reads; what stands in quotes are values of labels."""
    return set(re.findall(r"\bray_\w+", re.sub(r'"[^"]*"', "", expression)))


def declared() -> dict[str, str]:
    """Our metrics as Prometheus names them -> what they are."""
    kinds = {}
    for node in ast.walk(ast.parse(METRICS.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"objadapt_\w+", node.value):
            kinds.setdefault(node.value, "gauge")
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Counter":
            kinds[node.args[0].value] = "counter"
    return {f"ray_{name}_total" if kind == "counter" else f"ray_{name}": kind for name, kind in kinds.items()}


def test_every_metric_is_ours_or_rays():
    # what Ray's own board shows
    rays = set(re.findall(r"\bray_\w+", Path(default_dashboard_panels.__file__).read_text()))
    used = {name for _, expression in expressions() for name in names(expression)}
    assert declared().keys() <= used, "declared, and shown nowhere"
    assert not used - declared().keys() - rays


def test_counters_are_never_read_as_they_stand():
    """A counter begins anew with every worker, so only its rate, or its sum over a range, says anything."""
    for title, expression in expressions():
        for name, kind in declared().items():
            for found in re.finditer(rf"(\w+)\({name}\b", expression):
                assert (found[1] in ("rate", "max_over_time")) == (kind == "counter"), f"{title}: {expression}"


def test_every_expression_is_of_the_chosen_cluster():
    for title, expression in expressions():
        metrics = len(re.findall(r"\bray_\w+\{", expression))
        assert expression.count('SessionName=~"$session"') == metrics > 0, title


def test_boards_are_whole():
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/boards.yaml").read_text())["providers"]
    assert provider["options"]["path"].replace("${PWD}", str(REPOSITORY)) == str(GRAFANA / "boards")
    uids = {path: read(path)["uid"] for path in BOARDS}
    assert list(uids.values()) == ["objadapt-cluster"]  # links and bookmarks hold it
    for path in BOARDS:
        board = read(path)
        variables = {one["name"]: one for one in board["templating"]["list"]}
        assert variables["datasource"]["current"]["value"] in [source["uid"] for source in sources]
        assert {"datasource", "session", "run"} == variables.keys() and "id" not in board
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids) and all(panel["title"] and panel["description"] for panel in board["panels"])
        cells = set()
        for panel in board["panels"]:
            x, y, width, height = (panel["gridPos"][key] for key in "xywh")
            own = {(column, row) for column in range(x, x + width) for row in range(y, y + height)}
            assert x + width <= 24 and not own & cells, f"{panel['title']} lies on another panel"
            cells |= own
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
            for one in (panel, *panel["targets"]):
                assert one["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@ray.remote(num_cpus=0.1)
class Busy:
    """Does what decode tasks, encoders and trainers tell `pipeline.metrics` of."""

    def work(self) -> None:
        from objadapt.pipeline import metrics

        metrics.count_decoded(np.array([True, True, False]), ["decode"], fetched=1000)
        metrics.count_encoded(np.array([True, True]))
        metrics.show_training("toy-seed0", {"wait_seconds": 1.0, "seconds": 4.0, "clips": 64.0}, 8)


@pytest.fixture(scope="module")
def endpoint(local_ray) -> str:
    """host:port of the session's Ray where it exports its metrics, ours among them."""
    (node,) = ray.nodes()
    return f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}"


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


@pytest.mark.slow
def test_a_live_ray_exports_every_metric(endpoint):
    busy, used = Busy.remote(), {name for _, expression in expressions() for name in names(expression)} - OF_GPUS
    until, missing = time.monotonic() + PATIENCE, used
    while missing and time.monotonic() < until:
        ray.get(busy.work.remote())
        time.sleep(2)
        missing = used - set(re.findall(r"^# TYPE (\w+)", fetch(f"http://{endpoint}/metrics"), re.MULTILINE))
    assert not missing


@pytest.mark.slow
def test_every_expression_finds_numbers_in_prometheus(endpoint, tmp_path):
    if not shutil.which("prometheus"):
        pytest.skip("no prometheus on this machine (Debian: apt-get install --no-install-recommends prometheus)")
    address = f"127.0.0.1:{free_port()}"
    scrape = {"job_name": "ray", "scrape_interval": "2s", "static_configs": [{"targets": [endpoint]}]}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [scrape]}))
    command = [
        "prometheus",
        f"--config.file={tmp_path}/prometheus.yml",
        f"--web.listen-address={address}",
        f"--storage.tsdb.path={tmp_path}/data",
    ]
    with open(tmp_path / "log", "w") as log:
        prometheus = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        busy, until = Busy.remote(), time.monotonic() + PATIENCE
        left = expressions()
        while time.monotonic() < until and any(not names(expression) & OF_GPUS for _, expression in left):
            assert prometheus.poll() is None, (tmp_path / "log").read_text()
            ray.get(busy.work.remote())
            time.sleep(2)
            left = [(title, expression) for title, expression in left if not numbers(address, expression)]
    finally:
        prometheus.terminate()
        prometheus.wait()
    assert not [title for title, expression in left if not names(expression) & OF_GPUS]


def numbers(address: str, expression: str) -> list:
    """What Prometheus answers, as finite floats.

    Nothing while it starts. What it does not take as PromQL fails the test.
    """
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    try:
        answer = fetch(f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
    except urllib.error.HTTPError as error:
        assert error.code == 503, f"{error.read().decode()}: {expression}"  # else it is still starting
        return []
    except urllib.error.URLError:
        return []
    return [value for one in json.loads(answer)["data"]["result"] if np.isfinite(value := float(one["value"][1]))]
