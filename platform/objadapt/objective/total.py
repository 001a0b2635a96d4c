"""Total loss, Eq. 10: `w_cls CE + w_obj L_obj + w_temp L_temp`, and the optional mask-overlap penalty."""

from torch import Tensor

from ..config import Objective


def weighted_total(terms: dict[str, Tensor], objective: Objective) -> Tensor:
    """Weighted sum of the terms that are on; `terms` holds at least one."""
    weights = {
        "classification": objective.classification,
        "distillation": objective.distillation.weight,
        "temporal": objective.temporal.weight,
        "mask_overlap": objective.mask_overlap,
    }
    return sum(weights[name] * term for name, term in terms.items())
