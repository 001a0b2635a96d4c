"""When a training ends early: held-out clips have not been told better for some epochs (`training.patience`)."""

from ..config import Training


def noted(best: dict, epoch: int, top1: float, training: Training) -> dict:
    """What is the best validation behind one that is as good or better: {"epoch", "top1"}.

    With patience also "since", the first epoch that was as good: an equal one is no improvement.
    """
    found = {"epoch": epoch, "top1": top1}
    if training.patience:
        found["since"] = best.get("since", epoch) if best.get("top1") == top1 else epoch
    return found


def ended(best: dict, epoch: int, training: Training) -> bool:
    """Whether a training has ended behind so many epochs, by their number or by patience."""
    if epoch >= training.epochs:
        return True
    judged = epoch > 0 and epoch % training.validate_every == 0
    return bool(training.patience and judged and "since" in best and epoch - best["since"] >= training.patience)


def early(epoch: int, training: Training) -> str | None:
    """Why a training ended behind so many epochs, in words; None where there were no more."""
    if epoch >= training.epochs:
        return None
    return f"behind epoch {epoch} of {training.epochs}: none better for {training.patience} epochs (training.patience)"
