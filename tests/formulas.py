"""Closed forms of the paper's method, the reference for what evaluation/cost.py counts."""

from objadapt.config_methods import ObjectCentric


def formula_parameters(settings: ObjectCentric, heads: dict[str, int], joint_width: int) -> dict[str, int]:
    """Tunable parameters of each part of the adapter; parts that are off are absent.

    "token_projection" is the change of width where there is no slot attention and d differs from J.
    """
    J, d, F = _widths(settings, joint_width)
    K, h = settings.slots.number, 2 * d
    object_interaction = 4 * d**2 + 2 * d * F + 9 * d + F
    parts = {}
    if K not in (1, "none"):
        slot_mlp = 4 * d**2 + 5 * d if settings.slots.mlp else 0
        parts["slot_attention"] = 2 * J * d + 7 * d**2 + 2 * J + 11 * d + K * d + slot_mlp
    elif J != d:
        parts["token_projection"] = J * d + d
    if settings.object_interaction and K != 1:
        parts["object_interaction"] = object_interaction
    if settings.temporal == "state_change":
        parts["temporal"] = 2 * d * h + h + h * d + d
    elif settings.temporal == "attention":
        parts["temporal"] = object_interaction + d**2 + d
    parts["heads"] = sum(d * classes + classes for classes in heads.values())
    return parts


def formula_macs(
    settings: ObjectCentric, heads: dict[str, int], joint_width: int, patches: int, frames: int
) -> dict[str, int]:
    """Multiply-accumulates of each part for one view of `frames` frames with `patches` patch tokens each.

    Slots are projected, not patches: projected patches would be 2 N J d + R 2 N K d in place of R (2 K J d + 2 N K J).
    """
    J, d, F = _widths(settings, joint_width)
    N, T, R, h = patches, frames, settings.slots.iterations, 2 * d
    interval = settings.dt(T)
    K = N if settings.slots.number == "none" else settings.slots.number
    parts = {}
    if settings.slots.number not in (1, "none"):
        slot_mlp = 4 * K * d**2 if settings.slots.mlp else 0
        parts["slot_attention"] = T * R * (7 * K * d**2 + 2 * K * J * d + 2 * N * K * J + slot_mlp)
    elif J != d:
        parts["token_projection"] = T * K * J * d
    if settings.object_interaction and settings.slots.number != 1:
        parts["object_interaction"] = T * (K * (4 * d**2 + 2 * d * F) + 2 * K**2 * d)
    if settings.temporal == "state_change":
        V = T * (T - 1) // 2 if interval == "all" else T - interval
        parts["temporal"] = V * K * (2 * d * h + h * d)
    elif settings.temporal == "attention":
        parts["temporal"] = T * K * (5 * d**2 + 2 * d * F) + 2 * T**2 * K * d
    parts["heads"] = sum(d * classes for classes in heads.values())
    return parts


def _widths(settings: ObjectCentric, joint_width: int) -> tuple[int, int, int]:
    """J, d, F."""
    width = settings.width or joint_width
    return joint_width, width, round(settings.ffn_ratio * width)
