"""A progress bar on the driver's terminal (log lines elsewhere) for work that goes on in other processes."""

import logging
import sys
import threading
import time

import ray
from tqdm import tqdm

log = logging.getLogger(__name__)
LOG_EVERY = 30.0  # seconds, where there is no terminal


@ray.remote(num_cpus=0)
class _Board:
    """The newest (what, done, total, note) of a training, for whoever asks."""

    def __init__(self):
        self.news = None

    def post(self, *news):
        self.news = news

    def read(self):
        return self.news


class RemoteProgress:
    """`with RemoteProgress() as show:` — `show(what, done, total, note)` may be pickled and called in any process."""

    def __enter__(self) -> "Poster":
        self.board = _Board.remote()
        self.display, self.stop = Display(), threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()
        return Poster(self.board)

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(timeout=5)
        self.display.close()
        ray.kill(self.board)

    def _follow(self):
        while not self.stop.wait(0.5):
            news = ray.get(self.board.read.remote())
            if news:
                self.display(*news)


class Poster:
    """Sends progress to the board, at most ten times a second and always at the end of a stretch."""

    def __init__(self, board):
        self.board, self.sent = board, 0.0

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if done >= total or now - self.sent > 0.1:
            self.sent = now
            self.board.post.remote(what, done, total, note)


class Display:
    """Draws (what, done, total, note): a bar on a terminal, a log line every `LOG_EVERY` seconds elsewhere."""

    def __init__(self):
        self.bar, self.logged = None, time.monotonic()

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        if not sys.stderr.isatty():
            if time.monotonic() - self.logged > LOG_EVERY:
                self.logged = time.monotonic()
                log.info("%s: %d of %d %s", what, done, total, note)
            return
        if self.bar is None:
            self.bar = tqdm(dynamic_ncols=True, leave=False)
        self.bar.set_description(what)
        self.bar.total, self.bar.n = total, done
        self.bar.set_postfix_str(note)

    def close(self):
        """Take the bar off the screen; the next call draws another."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
