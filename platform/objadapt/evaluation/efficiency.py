"""Cost of the method: tunable parameters and FLOPs, counted and in closed form.

FLOPs are 2 x MAC of one view, attention products included; norms, activations and softmax are not counted.
"""

from typing import Literal

from torch import nn

from ..config import Model


def parameter_table(module: nn.Module) -> list[tuple[str, int, int]]:
    """(name, trainable, frozen) parameters of each direct child, and of "(own)" where the module holds any itself."""
    own = [("(own)", list(module.parameters(recurse=False)))]
    children = [(name, list(child.parameters())) for name, child in module.named_children()]
    return [
        (
            name,
            sum(p.numel() for p in parameters if p.requires_grad),
            sum(p.numel() for p in parameters if not p.requires_grad),
        )
        for name, parameters in own + children
        if parameters
    ]


def tunable_parameters(adapter: nn.Module) -> int:
    """Trainable parameters that inference uses: those of the children named in `adapter.training_only` are left out."""
    training_only = getattr(adapter, "training_only", ())
    return sum(trainable for name, trainable, _ in parameter_table(adapter) if name not in training_only)


def formula_parameters(model: Model, heads: dict[str, int], joint_width: int) -> dict[str, int]:
    """Tunable parameters of each part of the adapter; parts that are off are absent.

    "token_projection" is the change of width where there is no slot attention and d differs from J.
    """
    J, d, F = _widths(model, joint_width)
    K, h = model.num_slots, 2 * d
    object_interaction = 4 * d**2 + 2 * d * F + 9 * d + F
    parts = {}
    if K not in (1, "none"):
        slot_mlp = 4 * d**2 + 5 * d if model.slot_mlp else 0
        parts["slot_attention"] = 2 * J * d + 7 * d**2 + 2 * J + 11 * d + K * d + slot_mlp
    elif J != d:
        parts["token_projection"] = J * d + d
    if model.object_interaction and K != 1:
        parts["object_interaction"] = object_interaction
    if model.temporal == "state_change":
        parts["temporal"] = 2 * d * h + h + h * d + d
    elif model.temporal == "attention":
        parts["temporal"] = object_interaction + d**2 + d
    parts["heads"] = sum(d * classes + classes for classes in heads.values())
    return parts


def formula_macs(
    model: Model, heads: dict[str, int], joint_width: int, patches: int, frames: int, interval: int | Literal["all"]
) -> dict[str, int]:
    """Multiply-accumulates of each part for one view of `frames` frames with `patches` patch tokens each."""
    J, d, F = _widths(model, joint_width)
    N, T, R, h = patches, frames, model.iterations, 2 * d
    K = N if model.num_slots == "none" else model.num_slots
    parts = {}
    if model.num_slots not in (1, "none"):
        slot_mlp = 4 * K * d**2 if model.slot_mlp else 0
        parts["slot_attention"] = T * (2 * N * J * d + R * (7 * K * d**2 + 2 * N * K * d + slot_mlp))
    elif J != d:
        parts["token_projection"] = T * K * J * d
    if model.object_interaction and model.num_slots != 1:
        parts["object_interaction"] = T * (K * (4 * d**2 + 2 * d * F) + 2 * K**2 * d)
    if model.temporal == "state_change":
        V = T * (T - 1) // 2 if interval == "all" else T - interval
        parts["temporal"] = V * K * (2 * d * h + h * d)
    elif model.temporal == "attention":
        parts["temporal"] = T * K * (5 * d**2 + 2 * d * F) + 2 * T**2 * K * d
    parts["heads"] = sum(d * classes for classes in heads.values())
    return parts


def adapter_gflops(
    model: Model, heads: dict[str, int], joint_width: int, patches: int, frames: int, interval: int | Literal["all"]
) -> float:
    """GFLOPs (2 x MAC) of everything behind the backbone, for one view."""
    return 2e-9 * sum(formula_macs(model, heads, joint_width, patches, frames, interval).values())


def _widths(model: Model, joint_width: int) -> tuple[int, int, int]:
    """J, d, F."""
    width = model.width or joint_width
    return joint_width, width, round(model.ffn_ratio * width)
