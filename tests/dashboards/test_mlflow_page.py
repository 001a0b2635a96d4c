"""Links to MLflow's page: right where a server answers, one line where none does or something else speaks there."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dashboards import mlflow_page
from objadapt.errors import InputError


@pytest.fixture
def serve():
    """`serve(code, body)`: a server on 127.0.0.1 that answers everything so;
    -> its address and the paths it was asked for.
    """
    servers = []

    def start(code: int, body: bytes) -> tuple[str, list[str]]:
        asked = []

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                self.send_response(code)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Answer))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_server_knows_the_experiment(serve):
    server, asked = serve(200, json.dumps({"run": {"info": {"experiment_id": "7"}}}).encode())
    assert mlflow_page.run_url(server, "abc") == f"{server}/#/experiments/7/runs/abc"
    assert asked == ["/api/2.0/mlflow/runs/get?run_id=abc"]


@pytest.mark.parametrize(
    "code, body, said",
    [
        (404, b"{}", "does not know run abc"),
        (403, b"", "refused"),
        (500, b"", "refused"),
        (200, b"<html>", "no MLflow answers"),
        (200, b"[]", "no MLflow answers"),
        (200, b'{"run": {}}', "no MLflow answers"),
        (200, b"\xff\xfe", "no MLflow answers"),
    ],
)
def test_what_is_no_answer_of_mlflow_is_said_in_one_line(serve, code, body, said):
    server, _ = serve(code, body)
    with pytest.raises(InputError, match=said) as refused:
        mlflow_page.run_url(server, "abc")
    assert server in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "server", ["http://127.0.0.1:9", "file:///etc/passwd", "", "http://", "http://[", "http://a b"]
)
def test_no_server_is_said_in_one_line(server):
    with pytest.raises(InputError):
        mlflow_page.run_url(server, "abc")


def test_the_command_belongs_to_the_store():
    assert "sqlite:///a.db" in mlflow_page.start_command("sqlite:///a.db") and "127.0.0.1" in mlflow_page.start_command(
        "sqlite:///a.db"
    )
    assert (
        mlflow_page.server_of("http://host:1/") == "http://host:1"
        and mlflow_page.server_of("sqlite:///a.db") == mlflow_page.SERVER
    )
