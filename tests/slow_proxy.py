"""A proxy before a server that cannot be slowed itself: answers to requests that a test names go through slowly."""

import re
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass
class Pace:
    """How the proxy passes answers on, set by a test at any time."""

    slow: re.Pattern[bytes]  # of a request's first line, such as `GET /clips/a.mp4 HTTP/1.1`
    pause: float = 0.0  # seconds before each `chunk` bytes of a slow answer
    chunk: int = 500


class Handler(socketserver.BaseRequestHandler):
    """One connection; attributes that `slow_proxy` sets say where it leads."""

    behind: tuple[str, int]
    pace: Pace

    def handle(self):
        self.is_slow = False
        with socket.create_connection(self.behind) as there:
            threading.Thread(target=self._answers, args=(there,), daemon=True).start()
            with suppress(OSError):  # one of the two is gone
                while data := self.request.recv(2**16):
                    if re.match(rb"[A-Z]+ /", data):  # a request begins; on a connection they follow one another
                        self.is_slow = self.pace.slow.match(data.partition(b"\r\n")[0]) is not None
                    there.sendall(data)

    def _answers(self, there: socket.socket):
        with suppress(OSError):
            while data := there.recv(self.pace.chunk if self.is_slow else 2**16):
                if self.is_slow:
                    time.sleep(self.pace.pause)
                self.request.sendall(data)
            self.request.shutdown(socket.SHUT_WR)


@contextmanager
def slow_proxy(front: str, behind: str, slow: re.Pattern[bytes]) -> Iterator[Pace]:
    """A running proxy.

    Args:
        front, behind: addresses, `http://127.0.0.1:PORT`: where it listens, and where the server does.
    """
    pace, here, there = Pace(slow), urlsplit(front), urlsplit(behind)
    answering = type("Answering", (Handler,), {"behind": (there.hostname, there.port), "pace": pace})
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    server = socketserver.ThreadingTCPServer((here.hostname or "", here.port or 0), answering)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield pace
    server.shutdown()
    server.server_close()
