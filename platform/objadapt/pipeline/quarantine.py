"""Clips that could not be used, with stage and reason, and what else the stream noticed; never replaced, never silent.

A reason travels as a fixed-width uint8 column beside the features: string columns break Ray Data's torch batches, and
a side channel would count a clip twice when a task is run again after a fault.
"""

import numpy as np
import torch

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
    """What the stream reported of each clip, keyed by manifest row, so that a clip seen in many epochs counts once."""

    def __init__(self):
        self.quarantined: dict[int, tuple[str, str]] = {}
        self.short: set[int] = set()
        self.decoder: dict[int, str] = {}

    def update(self, batch: dict[str, torch.Tensor]) -> None:
        """Note the clips of a batch; padding rows are passed over."""
        columns = (batch[name].tolist() for name in ("row", "valid", "short", "decoder"))
        for position, (row, valid, short, decoder) in enumerate(zip(*columns)):
            if row < 0:
                continue
            if not valid:
                self.quarantined[row] = decode_reason(batch["reason"][position].numpy())
            else:
                self.decoder[row] = DECODERS[decoder]
                if short:
                    self.short.add(row)

    def merge(self, other: "Notices") -> None:
        """Take over another worker's notices."""
        self.quarantined |= other.quarantined
        self.short |= other.short
        self.decoder |= other.decoder

    def to_json(self) -> dict:
        """Plain lists and strings, for a checkpoint; `from_json` gives them back."""
        return {"quarantined": list(self.quarantined.items()), "short": sorted(self.short), "decoder": list(self.decoder.items())}

    @staticmethod
    def from_json(tree: dict) -> "Notices":
        """What `to_json` made; nothing where `tree` is empty."""
        notices = Notices()
        notices.quarantined = {row: (stage, reason) for row, (stage, reason) in tree.get("quarantined", [])}
        notices.short, notices.decoder = set(tree.get("short", [])), dict(tree.get("decoder", []))
        return notices

    def counts(self) -> dict[str, int]:
        """Numbers for the summary: quarantined, short, and clips by decoder."""
        by_decoder = {f"decoded_by_{name}": sum(d == name for d in self.decoder.values()) for name in DECODERS[1:]}
        return {"quarantined": len(self.quarantined), "short_clips": len(self.short)} | by_decoder
