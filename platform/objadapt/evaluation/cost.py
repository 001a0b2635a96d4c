"""Cost of any method, counted on the meta device: nothing is computed and no memory is taken.

FLOPs are 2 x MAC of one view, attention products included; norms, activations and softmax are not counted.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ..backbone.encoder import Encoder
from ..backbone.pruning import encode_pruned, pruning_of
from ..config import Experiment
from ..methods.build import build_method, method_class

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Cost:
    """What one view of T frames costs behind the backbone."""

    parameters: dict[str, int]  # child -> tunable parameters that inference uses
    macs: dict[str, int]  # child -> multiply-accumulates of the forward
    saved_bytes: int  # activations that the forward keeps for the backward, float32
    output_bytes: int  # everything that the method says of the view, float32

    @property
    def gflops(self) -> float:
        """GFLOPs (2 x MAC) of everything behind the backbone, for one view."""
        return 2e-9 * sum(self.macs.values())


def cost_of(config: Experiment, heads: dict[str, int], joint_width: int, patches: int, crop: int | None = None) -> Cost:
    """Count a config's method.

    Args:
        heads: head -> number of classes.
        joint_width: J.
        patches: N, patch tokens a frame.
        crop: S, side of the frames in pixels; for methods that take frames.

    Raises:
        InputError: as `build_method`.
    """
    shape = 1, config.sampling.frames
    # then its backbone reads weights, for which memory is needed
    inside = method_class(config.method).inputs == "frames"
    config = config.model_copy(update={"backbone": config.backbone.model_copy(update={"precision": "float32"})})
    with torch.random.fork_rng(devices=[]), nullcontext() if inside else torch.device("meta"):
        method = build_method(config, heads, joint_width).to("meta")
    with torch.device("meta"):
        batch = {"patches": torch.empty(*shape, patches, joint_width), "cls": torch.empty(*shape, joint_width)}
        if inside:
            assert crop is not None, "a method that takes frames is asked for with their side"
            batch = {"frames": torch.empty(*shape, crop, crop, 3, dtype=torch.uint8)}
    method.eval()  # in training a step may leave tokens out
    with _counting() as counter:
        output = method(batch)
    method.train()
    _, kept = saved_by(lambda: method(batch), method)
    parts = [*output.logits.values(), output.slots, output.attention, output.states, output.state_changes, output.video]
    return Cost(
        parameters={
            name: trainable
            for name, trainable, _ in parameter_table(method)
            if trainable and name not in method.training_only
        },
        macs=_macs(counter, type(method).__name__),
        saved_bytes=kept,
        output_bytes=sum(tensor.nbytes for tensor in parts if tensor is not None),
    )


def saved_by(forward: Callable[[], Answer], method: nn.Module) -> tuple[Answer, int]:
    """Run a forward with gradients; -> its answer, and the bytes that autograd keeps for the backward.

    Storages count once; the method's own parameters and buffers do not count.
    """
    kept = WeakSet()  # of the graph, which lets go of what no gradient needs

    def keep(tensor: Tensor) -> _Kept:
        kept.add(activation := _Kept(tensor))
        return activation

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda activation: activation.tensor):
        answer = forward()
    return answer, _bytes([activation.tensor for activation in kept], method)


def backbone_macs(encoder: Encoder, crop: int, frames: int) -> int:
    """Multiply-accumulates of a clip of T frames of crop x crop pixels, with those of pruning them; the encoder is on
    the meta device afterwards.
    """
    encoder.precision = "float32"
    encoder = encoder.to("meta")
    images = torch.empty(1, frames, 3, crop, crop, device="meta")
    with _counting() as counter, torch.no_grad():
        if dropped := pruning_of(encoder):
            encode_pruned(encoder, images, dropped)
        else:
            encoder(images.flatten(0, 1))
    return counter.get_total_flops() // 2


@contextmanager
def _counting() -> Iterator[FlopCounterMode]:
    """Counts FLOPs, those of attention too, which its fast path and its fused kernels would hide."""
    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)


class _Kept:
    """A tensor that a graph keeps, for as long as it does."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor


def _bytes(tensors: list[Tensor], method: nn.Module) -> int:
    """Of the storages of some tensors, each once and without those of the method's own parameters and buffers."""
    own = {_storage(tensor) for tensor in [*method.parameters(), *method.buffers()]}
    return sum({_storage(t): t.untyped_storage().nbytes() for t in tensors if _storage(t) not in own}.values())


def _storage(tensor: Tensor) -> int:
    """The same for all views of one storage."""
    return tensor.untyped_storage()._cdata


def _macs(counter: FlopCounterMode, root: str) -> dict[str, int]:
    """Child of the method -> its MACs; "(own)" is what belongs to no child."""
    counts = {name: sum(operations.values()) // 2 for name, operations in counter.get_flop_counts().items()}
    inside = {name.removeprefix(f"{root}."): count for name, count in counts.items() if name.startswith(f"{root}.")}
    macs: dict[str, int] = defaultdict(int)
    for name, count in inside.items():
        parts = name.split(".")
        if not any(".".join(parts[:depth]) in inside for depth in range(1, len(parts))):  # else its parent has it
            macs[parts[0]] += count
    if own := counts.get("Global", 0) - sum(macs.values()):
        macs["(own)"] = own
    return dict(macs)


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
