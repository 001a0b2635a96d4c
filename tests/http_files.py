"""An HTTP server over a folder, as kind or unkind as a test wants it; it counts what it is asked for."""

import http.server
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit


@dataclass
class Files:
    """What the server does, set by a test at any time, and what it was asked."""

    folder: Path
    ranges: bool = True
    fail: dict[str, int] = field(default_factory=dict)  # name -> answers 503 to so many more of its GETs
    short: dict[str, int] = field(default_factory=dict)  # name -> bytes of which the body is cut at, of so many told
    pause: float = 0.0  # seconds before each `chunk` bytes
    chunk: int = 2**16
    address: str = ""
    asked: Counter = field(default_factory=Counter)  # (method, name) -> requests
    sent: Counter = field(default_factory=Counter)  # name -> bytes of bodies
    queries: list[str] = field(default_factory=list)

    def url(self, name: str = "") -> str:
        """URL of a name below the folder."""
        return f"{self.address}/{quote(name)}".rstrip("/")


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers for `files`, an attribute that `serve` sets."""

    protocol_version = "HTTP/1.1"
    files: Files

    def do_HEAD(self):
        self._answer(False)

    def do_GET(self):
        self._answer(True)

    def _answer(self, with_body: bool):
        parts, files = urlsplit(self.path), self.files
        name = unquote(parts.path).strip("/")
        path = files.folder / name
        files.asked[self.command, name] += 1
        files.queries.append(parts.query)
        if with_body and files.fail.get(name, 0) > 0:
            files.fail[name] -= 1
            self._head(503, 0)
        elif not path.exists():
            self._head(404, 0)
        elif path.is_dir():
            page = self._page(path)
            self._head(200, len(page), {"Content-Type": "text/html"})
            self.wfile.write(page if with_body else b"")
        else:
            self._file(name, path, with_body)

    def _page(self, folder: Path) -> bytes:
        rows = (f'<a href="{quote(one.name)}{"/" * one.is_dir()}">{one.name}</a>' for one in folder.iterdir())
        return f'<a href="/">up</a><a href="?C=M">date</a>{"".join(rows)}'.encode()

    def _file(self, name: str, path: Path, with_body: bool):
        body, extra, status = path.read_bytes(), {"ETag": f'"{os.stat(path).st_mtime_ns}"'}, 200
        size = len(body)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and self.files.ranges:
            start, stop = int(asked[1]), min(int(asked[2] or size - 1) + 1, size)
            if start >= size:
                return self._head(416, 0)
            body, status, extra["Content-Range"] = body[start:stop], 206, f"bytes {start}-{stop - 1}/{size}"
        self._head(status, len(body), extra)
        if with_body:
            self._body(name, body[: self.files.short.get(name, len(body))])

    def _head(self, status: int, size: int, extra: dict[str, str] | None = None):
        self.send_response(status)
        for key, value in {"Content-Length": str(size), **(extra or {})}.items():
            self.send_header(key, value)
        self.end_headers()

    def _body(self, name: str, body: bytes):
        files = self.files
        try:
            for start in range(0, len(body), files.chunk):
                time.sleep(files.pause)
                files.sent[name] += len(body[start : start + files.chunk])  # first: who reads it looks at once
                self.wfile.write(body[start : start + files.chunk])
        except OSError:  # whoever asked is gone
            pass
        self.close_connection = self.close_connection or name in files.short

    def log_message(self, *_):
        pass


@contextmanager
def serve(folder: Path) -> Iterator[Files]:
    """A running server on 127.0.0.1."""
    files = Files(folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Answering", (Handler,), {"files": files}))
    server.daemon_threads = True
    files.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield files
    server.shutdown()
    server.server_close()
