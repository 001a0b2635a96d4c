"""An epoch in one line."""

import math


def epoch_text(epoch: int, epochs: int, metrics: dict[str, float], best: dict, left: str | None) -> str:
    """`epoch 3/60: loss 1.234, top-1 52.0 %, best 56.0 % (epoch 2), 48.1 clips/s, 3 % waiting, 2 min left`.

    Args:
        epoch: done, from 1 on.
        metrics: of the epoch: `train/...`, and where it was validated `val/...`.
        best: {"epoch", "top1"} of the best validation so far; empty: there was none.
        left: of the run, in words; None: not known, or nothing.
    """
    top1 = metrics.get("val/action_top1", metrics.get("val/top1"))
    parts = [f"loss {metrics['train/total']:.3f}"]
    if top1 is not None and not math.isnan(top1):
        parts.append(f"top-1 {100 * top1:.1f} %")
    if best and not math.isnan(best["top1"]):
        parts.append(f"best {100 * best['top1']:.1f} % (epoch {best['epoch']})")
    parts.append(f"{metrics['train/clips_per_second']:.1f} clips/s")
    parts.append(f"{100 * metrics['train/data_wait_share']:.0f} % waiting")
    return f"epoch {epoch}/{epochs}: {', '.join([*parts, *([f'{left} left'] if left else [])])}"
