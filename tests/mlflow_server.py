"""Real MLflow servers for tests."""

import http.client
import subprocess
import sys
import time
from pathlib import Path


def start_server(port: int, folder: Path) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
        "--backend-store-uri",
        f"sqlite:///{folder / 'server.db'}",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    log = (folder / "server.log").open("a")
    server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    # its first look into the store takes long on busy cores, and a tracker that starts would give up on it
    while not (answers(port, "/health", 2) and answers(port, "/api/2.0/mlflow/experiments/search?max_results=1", 120)):
        assert server.poll() is None, (folder / "server.log").read_text()
        time.sleep(0.5)
    return server


def answers(port: int, page: str, timeout: float) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", page)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def stop_server(server: subprocess.Popen, port: int) -> None:
    server.terminate()
    server.wait()
    while answers(port, "/health", 2):  # its worker process ends a moment later
        time.sleep(0.2)
