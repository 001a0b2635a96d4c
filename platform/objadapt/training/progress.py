"""The driver's display of work that goes on in other processes."""

import contextlib
import logging
import threading
import time

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from .display import Display as Display

log = logging.getLogger(__name__)
PATIENCE = 5.0  # seconds for an answer of the board


class _Board:
    """The newest (what, done, total, note) of a training, and what its workers have to say, for whoever asks."""

    def __init__(self):
        self.news, self.said = None, []

    def post(self, *news):
        self.news = news

    def say(self, text, level=logging.WARNING):
        self.said.append((level, text))

    def read(self):
        """The news, and the (level, text) since it was last asked."""
        said, self.said = self.said, []
        return self.news, said


class RemoteProgress:
    """`with RemoteProgress() as show:` — `show(what, done, total, note)` may be pickled and called in any process.

    A board that does not answer for a while costs the display that while alone; one that has died is made anew by Ray.
    """

    def __enter__(self) -> "Poster":
        # other nodes may be taken away
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        self.board = ray.remote(_Board).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()
        self.display, self.stop = Display(), threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()
        return Poster(self.board)

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(timeout=2 * PATIENCE)
        self.display.close()
        # what goes wrong here is not to hide how the training ended
        with contextlib.suppress(RayError, OSError, ValueError):
            if ray.is_initialized():
                self._show()
                ray.kill(self.board)  # pyright: ignore[reportArgumentType]  # Ray's two names for an actor's handle

    def _follow(self):
        while not self.stop.wait(0.5) and ray.is_initialized():  # else the question would start a Ray
            try:
                self._show()
            except (ActorUnavailableError, GetTimeoutError):
                continue
            except ActorDiedError:
                log.info("the progress display has ended with its process; the training goes on")
                return
            except (RayError, OSError, ValueError) as error:  # Ray was shut down, or the terminal is gone
                log.debug("the progress display has ended: %s", error)
                return

    def _show(self):
        news, said = ray.get(self.board.read.remote(), timeout=PATIENCE)
        for level, text in said:
            log.log(level, "%s", text)
        if news and not self.stop.is_set():
            self.display(*news)


class Poster:
    """Sends progress to the board, at most ten times a second and always at the end of a stretch.

    Nothing here may end a training: what cannot be sent is left out.
    """

    def __init__(self, board):
        self.board, self.sent = board, 0.0

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if done >= total or now - self.sent > 0.1:
            self.sent = now
            self._send("post", what, done, total, note)

    def stage(self, what: str) -> None:
        """What lasts from now on and cannot be counted."""
        self(what, 0, 0)

    def say(self, text: str) -> None:
        """Have a warning said on the driver's terminal, where a worker's own log does not come.

        Waits until the board has it: a worker's last words would else come after the driver's last look.
        """
        log.warning("%s", text)
        with contextlib.suppress(RayError):
            ray.get(self._send("say", text), timeout=PATIENCE)

    def tell(self, text: str) -> None:
        """Have a line said there that is no warning; nobody waits for it, for a training must not wait each epoch."""
        self._send("say", text, logging.INFO)

    def _send(self, method: str, *arguments) -> ray.ObjectRef | list:
        try:
            return getattr(self.board, method).remote(*arguments)
        except RayError as error:
            log.debug("the progress board took nothing: %s", error)
            return []
