"""What a job is doing now: one line on a terminal while it lasts, log lines elsewhere; and lines that stay.

A stage is counted (`show("encode", 32, 180)`) or not (`show.stage("starting Ray")`). Each has a clock of its own, so
its time left is that of this stage alone.
"""

import logging
import shutil
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)
TICK = 0.5  # seconds between two looks at the clock
REDRAW = 0.1  # seconds between two drawings at the least
FIRST = 5.0  # seconds that a stage must have lasted to be logged, where there is no terminal
LOG_EVERY = 30.0  # seconds between its log lines
BAR = 20  # characters


def stage(show: Any, what: str) -> None:
    """Name what lasts from now on and cannot be counted; nothing where a callback takes counts alone."""
    if hasattr(show, "stage"):
        show.stage(what)


def tell(show: Any, text: str) -> None:
    """A line that stays; nothing where a callback takes counts alone."""
    if hasattr(show, "tell"):
        show.tell(text)


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@dataclass
class _Stage:
    """What lasts now; `total` 0: it cannot be counted."""

    what: str
    began: float
    first: tuple[float, int] | None = None  # when it was first heard of, and what was done then
    at: float = 0.0  # when `done` last grew
    done: int = 0
    total: int = 0
    note: str = ""
    logged: float | None = None

    def update(self, done: int, total: int, note: str, now: float) -> None:
        if total and self.first is None:
            self.first, self.at = (now, done), now
        if done > self.done:
            self.at = now
        self.done, self.total, self.note = done, total, note

    def left(self, now: float) -> float | None:
        """Seconds, by the rate since the first news: what was done before them, in an earlier process, has none.

        The first blocks of several encoders come at once and tell no rate, so a wait since then counts as well.
        """
        if self.first is None or self.done <= self.first[1] or self.done >= self.total:
            return None
        began, before = self.first
        each, waited = (self.total - self.done) / (self.done - before), now - self.at
        return max(each * (self.at - began) - waited, each * waited)

    def text(self, now: float, bar: bool) -> str:
        if not self.total:
            minutes, seconds = divmod(int(now - self.began), 60)  # exact: no two log lines are the same
            return f"{self.what}, {f'{minutes} min ' * (minutes > 0)}{seconds} s"
        filled = BAR * min(self.done, self.total) // self.total
        drawn = f"[{'#' * filled:<{BAR}}] " if bar else ""
        left = self.left(now)
        parts = [f"{drawn}{self.done:,}/{self.total:,}", "" if left is None else f"{duration(left)} left", self.note]
        return f"{self.what} {', '.join(filter(None, parts))}"


class Display:
    """`with Display() as show:` draws on this process's terminal, by a thread that also keeps the time.

    A log line of the process makes way for itself. Without a terminal a stage that lasts is logged after `FIRST`
    seconds, then every `LOG_EVERY`.
    """

    def __init__(self):
        self.now: _Stage | None = None
        self.drawn, self.drawn_at, self.lock = 0, 0.0, threading.RLock()
        self.ended, self.thread = threading.Event(), None
        self.handlers: list[logging.Handler] = []

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        with self.lock:
            now = time.monotonic()
            fresh = self.now is None or self.now.what != what or done < self.now.done
            if self.now is None or fresh:
                self.now = _Stage(what, now)
            self.now.update(done, total, note, now)
            if fresh or now - self.drawn_at > REDRAW:
                self._show(now)
            if self.thread is None:
                self.ended.clear()
                self.thread = threading.Thread(target=self._tick, daemon=True)
                self.thread.start()

    def stage(self, what: str) -> None:
        """What lasts from now on and cannot be counted."""
        self(what, 0, 0)

    def tell(self, text: str) -> None:
        """A line that stays."""
        with self.lock:
            log.info("%s", text)

    def close(self) -> None:
        """Take the line off the screen; the next call draws another."""
        with self.lock:
            thread, self.thread, self.now = self.thread, None, None
            self.ended.set()
            self._erase()
            for handler in self.handlers:
                handler.removeFilter(self._make_way)
            self.handlers = []
        if thread is not None:
            thread.join(timeout=2 * TICK)

    def _tick(self) -> None:
        ended = self.ended
        while not ended.wait(TICK):
            with self.lock:
                if self.now is None or self.thread is not threading.current_thread():
                    return
                self._show(time.monotonic())

    def _show(self, now: float) -> None:
        assert self.now is not None, "there is a stage"
        try:
            if sys.stderr.isatty():
                self._draw(self.now.text(now, bar=True), now)
            else:
                self._log(self.now, now)
        except (OSError, ValueError):  # the terminal is gone: nothing here may end a training
            self.drawn = 0

    def _draw(self, text: str, now: float) -> None:
        if not self.handlers:
            self.handlers = list(logging.getLogger().handlers)
            for handler in self.handlers:
                handler.addFilter(self._make_way)
        text = text[: shutil.get_terminal_size().columns - 1]
        sys.stderr.write(f"\r{text:<{self.drawn}}")
        sys.stderr.flush()
        self.drawn, self.drawn_at = len(text), now

    def _log(self, one: _Stage, now: float) -> None:
        waited = now - one.began >= FIRST if one.logged is None else now - one.logged >= LOG_EVERY
        if waited and (not one.total or one.done < one.total):
            one.logged = now
            log.info("%s", one.text(now, bar=False))

    def _make_way(self, record: logging.LogRecord) -> bool:
        with self.lock:
            self._erase()
        return True

    def _erase(self) -> None:
        if self.drawn:
            try:
                sys.stderr.write(f"\r{'':<{self.drawn}}\r")
                sys.stderr.flush()
            except (OSError, ValueError):  # the terminal is gone
                pass
            self.drawn = 0
