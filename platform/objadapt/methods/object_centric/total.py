"""Total loss, Eq. 10: `w_cls CE + w_obj L_obj + w_temp L_temp`, and the optional mask-overlap penalty."""

from torch import Tensor

from ...config_methods import Losses


def weighted_total(terms: dict[str, Tensor], losses: Losses) -> Tensor:
    """Weighted sum of the terms that are on; `terms` holds at least one."""
    weights = {
        "classification": losses.classification,
        "cls_probe": losses.classification,
        "distillation": losses.distillation.weight,
        "temporal": losses.temporal.weight,
        "mask_overlap": losses.mask_overlap,
    }
    return sum(  # pyright: ignore[reportReturnType]  # the 0 of an empty sum cannot be
        weights[name] * term for name, term in terms.items()
    )
