"""CLIP's pretraining of the small CLIP on still pictures: the loss, the held-out figures and the loop
(`jobs/pretrain_backbone.py` says what for).
"""

import argparse
import json
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from tqdm import tqdm

from ..data.captions import CONTEXT_LENGTH, VOCABULARY, describe, place_anew, random_things, tokenise
from ..data.shapes import COLOURS, GROUNDS, HELD_OUT_SEED, SHAPES, Thing, render, render_background
from ..errors import InputError
from .small_clip import MEAN, STD, build_small_clip_model

MODEL = {
    "embed_dim": 128,
    "quick_gelu": False,
    "vision_cfg": {"image_size": 96, "layers": 4, "width": 128, "head_width": 64, "patch_size": 8},
    "text_cfg": {
        "context_length": CONTEXT_LENGTH,
        "vocab_size": len(VOCABULARY),
        "width": 128,
        "heads": 4,
        "layers": 3,
    },
}
SIDE = MODEL["vision_cfg"]["image_size"]


class Pictures(torch.utils.data.Dataset):
    """Batch number b of stills: uint8 [B, 3, S, S] and captions as tokens [B, L]; a function of (seed, b) alone.

    Pictures come in groups of `variants` that show the same shapes and colours on the same ground, placed anew.
    """

    def __init__(self, seed: int, batches: int, batch_size: int, variants: int):
        self.seed, self.batches, self.batch_size, self.variants = seed, batches, batch_size, variants

    def __len__(self):
        return self.batches

    def __getitem__(self, number):
        rng = np.random.default_rng([self.seed, number])
        pictures, captions = [], []
        for picture in range(self.batch_size):
            if picture % self.variants == 0:
                things, background = random_things(rng), GROUNDS[rng.integers(len(GROUNDS))]
            else:
                things = place_anew(things, rng)
            shift = tuple(rng.integers(-2, 3, 2))
            pictures.append(render(things, render_background(background, SIDE, margin=2), SIDE, shift)[0])
            captions.append(describe(things, background, rng))
        return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2), tokenise(captions)


def embed_pictures(model, pictures):
    """-> cls embedding [B, J], unit length, and projected patch tokens [B, N, J]."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    cls, patches = model.visual((pictures.float() / 255 - mean) / std)  # patches: [B, N, D], after ln_post
    return F.normalize(cls, dim=-1), patches @ model.visual.proj


def contrastive_loss(pictures, captions, scale):
    """CLIP's symmetric InfoNCE over a batch of unit vectors [B, J]."""
    logits = scale * pictures @ captions.T
    target = torch.arange(len(logits))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


@torch.inference_mode()
def evaluate(model, pictures: int = 1000) -> dict:
    """Held-out figures: retrieval among 1000 pictures, zero-shot colour x shape on single objects (48 classes)."""
    target, result = torch.arange(pictures), {}
    for variants, kind in ((1, "retrieval"), (4, "retrieval_same_things_placed_anew")):
        images, tokens = Pictures(HELD_OUT_SEED, 1, pictures, variants)[0]
        text = F.normalize(model.encode_text(tokens), dim=-1)
        cls, patches = embed_pictures(model, images)
        for name, picture in (("cls", cls), ("patch_mean", F.normalize(patches.mean(1), dim=-1))):
            similarity = picture @ text.T
            result[f"{kind}_image_to_text_top1_{name}"] = (similarity.argmax(1) == target).float().mean().item()
            result[f"{kind}_text_to_image_top1_{name}"] = (similarity.argmax(0) == target).float().mean().item()

    rng = np.random.default_rng([HELD_OUT_SEED, 1])
    classes = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    prompts = tokenise(
        [f"a medium {colour} {shape} at middle centre on a mid-toned plain background" for colour, shape in classes]
    )
    weights = F.normalize(model.encode_text(prompts), dim=-1)
    labels, images = [], []
    for number in range(pictures):
        labels.append(number % len(classes))
        colour, shape = classes[labels[-1]]
        thing = Thing(shape, colour, *rng.uniform(0.25, 0.75, 2), rng.uniform(0.1, 0.2), rng.uniform(-0.5, 0.5))
        images.append(render([thing], render_background(GROUNDS[rng.integers(len(GROUNDS))], SIDE), SIDE)[0])
    cls, _ = embed_pictures(model, torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2))
    guess = (cls @ weights.T).argmax(1)
    result["zero_shot_colour_shape_top1"] = (guess == torch.tensor(labels)).float().mean().item()
    result["zero_shot_chance"] = 1 / len(classes)
    result["held_out_pictures"] = pictures
    return result


def start_from(model: torch.nn.Module, folder: Path) -> dict:
    """Load the weights of an earlier pretraining; -> its provenance."""
    try:
        model.load_state_dict(load_file(folder / "weights.safetensors"))
        return json.loads((folder / "provenance.json").read_text())
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"--start: {folder} holds no earlier pretraining ({reason}); give the --output of one"
        ) from None


def pretrain(arguments: argparse.Namespace, code_version: str) -> dict:
    """Pretrain, or go on from the last saved step; -> the provenance that is written beside the weights.

    Args:
        arguments: steps, batch_size, lr, seed, variants, start, output.

    Raises:
        InputError: `start` holds no earlier pretraining, or `output` one with other options.
    """
    output = Path(arguments.output)
    torch.manual_seed(arguments.seed)
    model = build_small_clip_model(MODEL)
    before = start_from(model, Path(arguments.start)) if arguments.start else None
    output.mkdir(parents=True, exist_ok=True)
    model.visual.output_tokens = True
    side = SIDE // MODEL["vision_cfg"]["patch_size"]
    place = torch.linspace(-1, 1, side)
    places = torch.stack([place.repeat(side), place.repeat_interleave(side)], dim=-1)  # [N, 2], x and y of each patch
    read_place = torch.nn.Linear(MODEL["embed_dim"], 2)  # of the training alone; not shipped
    learnt = [*model.parameters(), *read_place.parameters()]
    decayed = [p for p in learnt if p.ndim >= 2]
    plain = [p for p in learnt if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=arguments.lr, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, arguments.lr, arguments.steps, pct_start=0.06, cycle_momentum=False
    )
    saved, first, seconds = output / "unfinished.pt", 0, 0.0
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        if state["arguments"] != vars(arguments):
            raise InputError(f"{saved}: belongs to a run with other options; delete it to start anew")
        first, seconds = state["step"], state["seconds"]
        model.load_state_dict(state["model"])
        read_place.load_state_dict(state["read_place"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
    pictures = Pictures(arguments.seed, arguments.steps, arguments.batch_size, arguments.variants)
    batches = torch.utils.data.Subset(pictures, range(first, arguments.steps))
    loader = torch.utils.data.DataLoader(batches, batch_size=None, num_workers=1, prefetch_factor=4)

    start = time.time() - seconds
    progress = tqdm(loader, initial=first, total=arguments.steps, disable=not sys.stderr.isatty(), unit="step")
    for step, (pictures, tokens) in enumerate(progress, first):
        cls, patches = embed_pictures(model, pictures)
        patch_mean = F.normalize(patches.mean(1), dim=-1)
        text = F.normalize(model.encode_text(tokens), dim=-1)
        scale = model.logit_scale.exp().clamp(max=100)
        loss = contrastive_loss(cls, text, scale) + 0.5 * contrastive_loss(patch_mean, text, scale)
        loss = loss + F.mse_loss(read_place(patches), places.expand(len(patches), -1, -1))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimiser.step()
        schedule.step()
        progress.set_postfix(loss=f"{loss.item():.3f}")
        if progress.disable and step % 50 == 0:
            print(f"step {step}/{arguments.steps} loss {loss.item():.3f} {time.time() - start:.0f} s", flush=True)
        if (step + 1) % 100 == 0:
            state = {
                "model": model.state_dict(),
                "read_place": read_place.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
            }
            state |= {"step": step + 1, "seconds": time.time() - start}
            state |= {"arguments": vars(arguments)}
            torch.save(state, saved.with_suffix(".part"))
            saved.with_suffix(".part").replace(saved)

    model.half().float()  # evaluate what is shipped: float16 weights
    figures = evaluate(model.eval())
    weights = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, output / "weights.safetensors", metadata={"quick_gelu": "false"})
    (output / "model.json").write_text(json.dumps(MODEL, indent=2) + "\n")
    (output / "vocabulary.txt").write_text("\n".join(VOCABULARY) + "\n")
    provenance = {
        "what": "small CLIP, pretrained on rendered still pictures with captions (toy data; no video, no motion)",
        "command": f"python jobs/pretrain_backbone.py --steps {arguments.steps} --batch-size {arguments.batch_size}"
        f" --lr {arguments.lr} --seed {arguments.seed} --variants {arguments.variants}"
        + (" --start FOLDER (of the pretraining under `started_from`)" if before else ""),
        "seed": arguments.seed,
        "code_version": code_version,
        "date": date.today().isoformat(),
        "pictures_seen": arguments.steps * arguments.batch_size,
        "minutes": round((time.time() - start) / 60, 1),
        "cores": torch.get_num_threads(),
        "torch": torch.__version__,
        "image_tower_parameters": sum(p.numel() for p in model.visual.parameters()),
        "held_out": {name: round(value, 4) for name, value in figures.items()},
        "started_from": before,
    }
    (output / "provenance.json").write_text(json.dumps(provenance, indent=2) + "\n")
    saved.unlink(missing_ok=True)
    return provenance
