"""Backbone and method as one program: crops in, logits out; by `torch.export`, and as ONNX."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..data.transforms import normalise
from ..errors import InputError
from ..video_model import VideoModel

log = logging.getLogger(__name__)
CLIPS = 3  # that the program is traced with; it takes any number
TOLERANCE = 2e-3  # of a logit: features are rounded to float16 on the way, and a sum may be taken in another order


class Whole(nn.Module):
    """`VideoModel` behind its crop: uint8 [B, T, S, S, 3] -> float32 [B, C] of each head, in the order of the heads."""

    def __init__(self, model: VideoModel):
        super().__init__()
        self.encoder, self.method, self.heads = model.encoder, model.method, list(model.classes)

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Logits of each head."""
        if self.method.inputs == "frames":
            logits = self.method({"frames": frames}).logits
        else:
            encoded = self.encoder(normalise(frames.flatten(0, 1), self.encoder.mean, self.encoder.std))
            # float16, as streams and caches carry them
            patches, cls = (one.half().unflatten(0, frames.shape[:2]) for one in encoded)
            logits = self.method({"patches": patches, "cls": cls}).logits
        return tuple(logits[head] for head in self.heads)


def example(model: VideoModel, clips: int, seed: int = 0) -> Tensor:
    """Random crops uint8 [clips, T, S, S, 3]."""
    size = model.config.transform.size or model.encoder.image_size
    shape = (clips, model.config.sampling.frames, size, size, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def exported_program(model: VideoModel) -> torch.export.ExportedProgram:
    """The program, for any number of clips; for one at a time, which is said, where a method counts them as a constant.

    Raises:
        InputError: torch cannot trace this method.
    """
    if model.config.backbone.pruning:
        raise InputError(
            "--whole, --onnx: a backbone that prunes tokens (backbone.pruning) is not traced; leave them out"
        )
    whole, reason = Whole(model).eval(), ""
    whole.encoder.precision = "float32"  # CPUs compute so, whatever is configured
    any_number = {"frames": {0: torch.export.Dim("clips", min=1)}}
    with torch.no_grad():
        # strict: by the source, where `len(x)` is no constant
        for strict, shapes, clips in ((True, any_number, CLIPS), (False, any_number, CLIPS), (False, None, 1)):
            try:
                program = torch.export.export(whole, (example(model, clips),), dynamic_shapes=shapes, strict=strict)
            except Exception as error:  # whatever a method from outside makes the tracer raise
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
                continue
            if shapes is None:
                log.warning("--whole: the program takes one clip at a time (%s)", reason)
            return program
    raise InputError(f"--whole: torch.export cannot trace this method ({reason}); leave --whole out")


def write_whole_model(model: VideoModel, file: Path) -> None:
    """Write `model.pt2`, which `torch.export.load` reads without objadapt, once its answers are those of the model.

    Raises:
        InputError: as `exported_program`; or the answers differ, and no file is left.
    """
    program = exported_program(model)
    torch.export.save(program, file)
    _compare(model, torch.export.load(file).module(), clips_of(program), "--whole", file)


def clips_of(program: torch.export.ExportedProgram) -> tuple[int, ...]:
    """Numbers of clips to compare a program with: 1, and 2 where it takes any."""
    return (1, 2) if program.range_constraints else (1,)


def write_onnx(model: VideoModel, file: Path) -> None:
    """Write `model.onnx`, its weights inside, once its answers in onnxruntime are those of the model.

    Raises:
        InputError: onnx, onnxscript or onnxruntime is missing; torch cannot translate the program; the answers differ.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  -- torch.onnx needs it
    except ImportError as error:
        raise InputError(f"--onnx: {error.name} is missing; pip install onnx onnxscript onnxruntime") from None
    try:
        program = exported_program(model)
        translated = torch.onnx.export(program, dynamo=True, verbose=False)
        assert translated is not None, "no file was given, so it is handed back"
        translated.save(file, external_data=False)
    except InputError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"--onnx: torch cannot translate this method ({reason}); leave --onnx out") from None
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def answers(frames: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(np.asarray(one)) for one in session.run(None, {name: frames.numpy()}))

    _compare(model, answers, clips_of(program), "--onnx", file)


def _compare(model: VideoModel, answers: Callable, numbers: tuple[int, ...], option: str, file: Path) -> None:
    """InputError where a program answers so many random clips otherwise than the model."""
    for clips in numbers:
        frames = example(model, clips, seed=clips)
        with torch.no_grad():
            expected, found = model(frames).logits, answers(frames)
        for head, logits in zip(model.classes, found, strict=True):
            difference = float((logits - expected[head]).abs().max())
            if logits.shape != expected[head].shape or not difference <= TOLERANCE:
                file.unlink()
                raise InputError(
                    f"{option}: the logits of {head} differ by {difference:.1g} from the model's; leave {option} out"
                )
