"""The summaries of a long video on disk, so that working memory does not grow with it, and any question can be asked
later.

    history.json     what was encoded, the shape, the number of clips; written last
    summaries.f32    float32 [K, M, d], appended clip by clip
    indicators.f32   float32 [K, d]
    times.f64        float64 [K, 2], the first and the last second of each clip
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from objadapt.errors import InputError, naming
from objadapt.files import write_whole

from ..output_folder import make_folder
from .method import StreamingMemory

DONE = "history.json"


class Writer:
    """Encodes a video clip by clip into a folder; holds the memory of the last clip and nothing of those before it.

    Args:
        folder: new, or what a run that was cut off has left.

    Raises:
        InputError: it cannot be made.
    """

    def __init__(self, method: StreamingMemory, folder: Path):
        self.method, self.folder, self.clips = method, folder, 0
        self.memory = method.encoder.begin(1)
        make_folder("--history", folder)
        with naming(folder):
            (folder / DONE).unlink(missing_ok=True)
            self._files = [open(folder / name, "wb") for name in ("summaries.f32", "indicators.f32", "times.f64")]

    @torch.no_grad()
    def add(self, patches: Tensor, times: tuple[float, float]) -> None:
        """The next clip, [1, clip_frames, N, J], and its first and last second."""
        self.memory, indicator = self.method.encoder(patches.to(self.method.dtype), self.memory, self.clips)
        contents = (self.memory[0].float().numpy(), indicator[0].float().numpy(), np.array(times, np.float64))
        with naming(self.folder):
            for file, content in zip(self._files, contents, strict=True):
                file.write(np.ascontiguousarray(content).tobytes())
        self.clips += 1

    def close(self, about: dict) -> None:
        """Mark the history as whole; `about` says what it is of."""
        for file in self._files:
            file.close()
        _, tokens, width = (1, *self.memory.shape[1:])
        shape = {"clips": self.clips, "tokens": tokens, "width": width}
        write_whole(self.folder / DONE, json.dumps({"about": about} | shape, indent=1) + "\n")


class History:
    """An encoded video; the summaries stay on disk until a question chooses some.

    Args:
        about: what it must be of, as `Writer.close` was told; None: anything.

    Raises:
        InputError: not there, of something else, or damaged.
    """

    def __init__(self, folder: Path, about: dict | None = None):
        try:
            tree = json.loads((folder / DONE).read_text())
            self.about, clips, tokens, width = (tree[key] for key in ("about", "clips", "tokens", "width"))
            self.summaries = np.memmap(folder / "summaries.f32", np.float32, "r", shape=(clips, tokens, width))
            self.indicators = np.fromfile(folder / "indicators.f32", np.float32).reshape(clips, width)
            self.times = np.fromfile(folder / "times.f64", np.float64).reshape(clips, 2)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"history: {folder} is no whole history ({error}); delete it, and encode again") from None
        if about is not None and self.about != about:
            other = [
                f"{key} {self.about.get(key)} (now {about[key]})" for key in about if self.about.get(key) != about[key]
            ]
            raise InputError(f"--history: {folder} is of {', '.join(other)}; give another folder")

    @torch.no_grad()
    def ask(self, method: StreamingMemory, question: Tensor) -> tuple[Tensor, np.ndarray, np.ndarray]:
        """Answer to a question [d]: a vector [d], the numbers of the clips it was read from [V], and their cosines [V].

        Only the chosen clips are read from disk.
        """
        last = torch.from_numpy(np.array(self.summaries[-1]))[None].to(method.dtype)
        indicators = torch.from_numpy(self.indicators)[None].to(method.dtype)
        scores = method.relevance(question[None].to(method.dtype), last[:, None], indicators)  # [1, K]
        chosen = method.choose(scores)[0].numpy()
        picked = torch.from_numpy(np.array(self.summaries[chosen]))[None].to(method.dtype)  # [1, V, M, d]
        return method.answerer(question[None].to(method.dtype), picked)[0], chosen, scores[0].numpy()[chosen]
