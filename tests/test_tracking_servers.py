"""Servers that answer and refuse, and gateways before them: named with the remedy before a training,
said once in the middle.
"""

import http.server
import threading

import pytest
from mlflow.tracking import MlflowClient
from mlflow_server import start_server, stop_server
from ports import free_port

from objadapt import tracking
from objadapt.errors import InputError
from objadapt.tracking import Tracker, prepare_store


@pytest.fixture
def warnings(caplog) -> list[str]:
    """What the user has been told so far."""

    class Told(list):
        def __iter__(self):
            return iter([one.getMessage() for one in caplog.records if one.name == tracking.log.name])

    return Told()


ANSWERS = {
    "login": (401, "text/html", "<html>Unauthorized</html>", "MLFLOW_TRACKING_USERNAME"),
    "rights": (403, "application/json", '{"error_code": "PERMISSION_DENIED", "message": "no"}', "right to write"),
    "rights of a gateway": (403, "application/json", '{"message": "Forbidden"}', "right to write"),
    "host": (403, "text/plain", "Invalid Host header - possible DNS rebinding attack detected", "--allowed-hosts"),
    "quota": (
        429,
        "application/json",
        '{"error_code": "RESOURCE_EXHAUSTED", "message": "quota of experiments"}',
        "ask for more",
    ),
    "rate": (429, "text/plain", "Too Many Requests", "wait"),
    "another server": (404, "text/html", "<html>nothing here</html>", "MLflow 3"),
    "another API": (404, "application/json", '{"detail": "Not Found"}', "MLflow 3"),
    "a login page": (200, "text/html", "<html>please sign in</html>", "MLflow 3"),
}


@pytest.fixture
def answering():
    """`answering(status, type, body)`: URI of a server that gives everybody this answer,
    as gateways before MLflow do.
    """
    servers = []

    def make(status: int, kind: str, body: str) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://me:secret@127.0.0.1:{server.server_port}"

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("case", ANSWERS)
def test_a_server_that_refuses_is_named_with_its_remedy(case, answering, tmp_path):
    *answer, remedy = ANSWERS[case]
    uri = answering(*answer)
    for look in (
        lambda: prepare_store(uri, "toy"),
        lambda: Tracker(uri, "toy", tmp_path / "records.jsonl").start("run", {}, {}),
    ):
        with pytest.raises(InputError, match="^tracking.uri: MLflow at .* refuses") as caught:
            look()
        said = str(caught.value)
        assert remedy in said and "does not answer" not in said and "secret" not in said and "\n" not in said


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_in_trouble_is_silent_and_refuses_nothing(status, answering, tmp_path, warnings):
    uri = answering(status, "text/html", "<html>bad gateway</html>")
    prepare_store(uri, "toy")
    tracker = Tracker(uri, "toy", tmp_path / "records.jsonl")
    assert tracker.start("run", {}, {}) is None
    (said,) = warnings
    assert "does not answer" in said and str(status) in said


def test_a_refusal_in_the_middle_is_said_once_and_retried(answering, tmp_path, warnings, monkeypatch):
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 0.0)
    tracker = Tracker(answering(*ANSWERS["quota"][:3]), "toy", tmp_path / "records.jsonl")
    tracker.run_id = "0" * 32
    for step in range(5):
        tracker.metrics({"loss": 1.0}, step)
    (said,) = warnings
    assert "refuses" in said and "429" in said and "ask for more" in said
    assert tracker.finish() is False and len(tracker.unsent) == 6


@pytest.mark.slow
def test_what_is_deleted_on_a_real_server(tmp_path, warnings, monkeypatch):
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 0.0)
    port = free_port()
    server, uri = start_server(port, tmp_path), f"http://127.0.0.1:{port}"
    try:
        client = MlflowClient(tracking_uri=uri)
        tracker = Tracker(uri, "toy", tmp_path / "records.jsonl")
        run_id = tracker.start("run", {}, {})
        client.delete_run(run_id)
        tracker.metrics({"loss": 1.0}, 1)
        tracker.metrics({"loss": 0.5}, 2)
        (middle,) = warnings
        assert run_id not in (None, "") and "was deleted" in middle
        assert tracker.finish() is False and "lacks" in list(warnings)[1] and "2 numbers" in list(warnings)[1]
        new = Tracker(uri, "toy", tmp_path / "records.jsonl").start("run", {}, {}, run_id)
        assert new not in (None, run_id) and client.get_run(new).info.status == "RUNNING"
        gone = Tracker(uri, "toy", tmp_path / "records.jsonl").start("run", {}, {}, "0" * 32)
        assert gone not in (None, run_id, new)
        number = client.get_experiment_by_name("toy").experiment_id
        client.delete_experiment(number)
        for look in (
            lambda: prepare_store(uri, "toy"),
            lambda: Tracker(uri, "toy", tmp_path / "r.jsonl").start("run", {}, {}),
        ):
            with pytest.raises(InputError, match=f"'toy' was deleted.*restore --experiment-id {number}"):
                look()
        client.restore_experiment(number)
        assert Tracker(uri, "toy", tmp_path / "records.jsonl").start("run", {}, {})
    finally:
        stop_server(server, port)
