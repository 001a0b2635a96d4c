"""Config sections as tests write them: in one line."""

from objadapt.config_methods import Losses, ObjectCentric, Slots

OF_SLOTS = {"num_slots": "number", "iterations": "iterations", "slot_mlp": "mlp", "implicit": "implicit"}


def object_centric(losses: Losses | None = None, **fields) -> ObjectCentric:
    """`object_centric(num_slots=3, width=8)`: the paper's method with some settings of its own or of its slots."""
    slots = Slots(**{OF_SLOTS[name]: value for name, value in fields.items() if name in OF_SLOTS})
    return ObjectCentric(
        slots=slots,
        losses=losses or Losses(),
        **{name: value for name, value in fields.items() if name not in OF_SLOTS},
    )
