"""Clips that could not be used, with stage and reason, and what else the stream noticed; never replaced, never silent.

A reason travels as a fixed-width uint8 column beside the features: string columns break Ray Data's torch batches, and
a side channel would count a clip twice when a task is run again after a fault.
"""

import numpy as np
from torch import Tensor

REASON_BYTES = 240
DECODERS = ("none", "decord", "pyav")


def encode_reason(stage: str, reason: str) -> np.ndarray:
    """-> uint8 [REASON_BYTES], zero padded."""
    text = f"{stage}|{' '.join(reason.split())}".encode()[:REASON_BYTES]
    return np.frombuffer(text.ljust(REASON_BYTES, b"\0"), np.uint8)


def decode_reason(code: np.ndarray) -> tuple[str, str]:
    """uint8 [REASON_BYTES] -> (stage, reason)."""
    stage, _, reason = bytes(code).rstrip(b"\0").decode(errors="ignore").partition("|")
    return stage, reason


class Notices:
    """What the stream reported of the clips: quarantined ones by name, the others by number.

    Each clip is counted once, though every epoch sees it again: `counted` says when. So what a checkpoint holds does
    not grow with the number of clips.
    """

    def __init__(self):
        self.quarantined: dict[int, tuple[str, str]] = {}  # manifest row -> (stage, reason)
        self.short = 0
        self.fetched = self.shown = 0  # bytes read over the network, at all looks at clips; and the number of looks
        self.decoder: dict[str, int] = dict.fromkeys(DECODERS[1:], 0)  # clips read by each
        self.validated = False  # the validation clips have been counted

    def update(self, batch: dict[str, Tensor], counted: Tensor | None) -> None:
        """Note the clips of a batch; padding rows are passed over.

        Args:
            counted: bool [B], the places whose clips are counted now; None: this is not the look at them that counts.
        """
        clips, valid = batch["row"] >= 0, batch["valid"]
        for position in (clips & ~valid).nonzero().flatten().tolist():
            self.quarantined[int(batch["row"][position])] = decode_reason(batch["reason"][position].numpy())
        if "fetched" in batch:
            self.fetched += int(batch["fetched"][clips].sum())
            self.shown += int((clips & valid).sum())
        if counted is not None:
            counted = counted & clips & valid
            self.short += int((counted & batch["short"]).sum())
            for number, name in enumerate(DECODERS[1:], 1):
                self.decoder[name] += int((counted & (batch["decoder"] == number)).sum())

    def merge(self, other: "Notices") -> None:
        """Take over another worker's notices."""
        self.quarantined |= other.quarantined
        self.short += other.short
        self.fetched += other.fetched
        self.shown += other.shown
        self.decoder = {name: count + other.decoder[name] for name, count in self.decoder.items()}
        self.validated |= other.validated

    def to_json(self) -> dict:
        """Plain lists and strings, for a checkpoint; `from_json` gives them back."""
        return {"quarantined": list(self.quarantined.items())} | {
            name: getattr(self, name) for name in ("short", "fetched", "shown", "decoder", "validated")
        }

    @staticmethod
    def from_json(tree: dict, chief: bool = True) -> "Notices":
        """What `to_json` made; nothing where `tree` is empty.

        Args:
            chief: take over the numbers; of several workers one does.
        """
        notices = Notices()
        notices.validated = tree.get("validated", False)
        if chief and tree:
            notices.quarantined = {row: (stage, reason) for row, (stage, reason) in tree["quarantined"]}
            notices.short, notices.decoder = tree["short"], dict(tree["decoder"])
            notices.fetched, notices.shown = tree.get("fetched", 0), tree.get("shown", 0)  # younger than the others
        return notices

    def counts(self) -> dict[str, int]:
        """Numbers for the summary: quarantined, short, clips by decoder; of data by URL also the bytes read of it."""
        by_decoder = {f"decoded_by_{name}": count for name, count in self.decoder.items()}
        read = {}
        if self.fetched and self.shown:
            each = round(self.fetched / self.shown)
            read = {"bytes_fetched": self.fetched, "clips_shown": self.shown, "bytes_fetched_a_clip": each}
        return {"quarantined": len(self.quarantined), "short_clips": self.short} | by_decoder | read
