"""A needle in a long video: what happened on the striped ground? Toy data, Object Actions strung together.

    python -m objadapt_relatives.streaming_memory.needle --config objadapt_relatives.streaming_memory.toy

`PYTHONPATH=platform` in a checkout. A long video is five clips, one on each ground, in any order. The question is a
ground, the answer the action that happened there. The model that selects by the question is set beside one that sees
the last segments alone. Both learn here, from strings of training clips; strings of validation clips judge them. With
--encoder their encoder begins as that of a training on single clips, the first of the paper's two stages.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from objadapt import job
from objadapt.config_file import load_config
from objadapt.data.shapes import TEXTURES
from objadapt.data.toy_scenes import ACTIONS
from objadapt.declared import CONFIGS, find
from objadapt.errors import InputError
from objadapt.runs.names import checkpoint_given
from objadapt.training.display import Display

from ..pretrained import load_part
from ..probes import scene_of, toy_options
from ..stored_clips import ONE_VIEW, stored_clips
from .method import StreamingMemory
from .selection import selection_loss
from .settings import Settings

BATCH, STRINGS = 16, 400  # long videos a step, and of the test
KINDS = "adaptive", "last"


def main():
    options = job.parser(__doc__)
    options.add_argument("--config", required=True, metavar="FILE", help="of a data set that is Object Actions")
    options.add_argument(
        "--steps", type=int, default=600, help="of each training; the first half knows the true segments"
    )
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--encoder", metavar="CHECKPOINT", help="a finished run of this config, its folder or name")
    job.add_overrides(options, "config values")
    job.add_json_option(options, "what was found")
    arguments = options.parse_intermixed_args()
    for name in ("steps", "seeds"):
        if getattr(arguments, name) < 1:
            raise InputError(f"--{name}: {getattr(arguments, name)}; give at least 1")
    job.check_overrides(arguments.overrides)
    config = load_config(find("--config", arguments.config, CONFIGS), [*arguments.overrides, *ONE_VIEW])
    if config.sampling.frames % 2:
        raise InputError(f"sampling.frames: {config.sampling.frames}; a segment is two frames, give an even number")
    if toy_options(config.data.root) is None:
        raise InputError(
            f"data.root: {config.data.root} is not Object Actions; make them with python jobs/make_toy.py DIR"
        )
    encoder = checkpoint_given(arguments.encoder, arguments.overrides) if arguments.encoder else None
    with Display() as show:
        found = needle(config, arguments.steps, range(arguments.seeds), encoder, show)
    for kind, runs in found.items():
        for name, values in runs.items():
            error = f" ± {100 * np.std(values, ddof=1) / len(values) ** 0.5:.1f}" if len(values) > 1 else ""
            print(f"{kind:<10} {name:<8} {100 * np.mean(values):.1f}{error} %")
    print(f"chance     answer   {100 / len(ACTIONS):.1f} %\nchance     found    {100 / len(TEXTURES):.1f} %")
    print("toy numbers: Object Actions strung together")
    job.write_json(arguments.json, found)


def needle(
    config, steps: int, seeds: range, encoder: Path | None = None, show=lambda *_: None
) -> dict[str, dict[str, list[float]]]:
    """Selection -> the share of right answers, and that of the needle's among the chosen segments, a value a seed.

    Args:
        encoder: folder of a checkpoint that the encoders begin as.

    Raises:
        InputError: an encoder of another shape, or clips that lack a ground.
    """
    from objadapt.data.manifest import build_manifest
    from objadapt.plan import plan

    job.join_cluster()
    planned = plan(config, build_manifest(config.data, config.seed))
    source, schedule = stored_clips(planned)
    made, clip_ids = toy_options(config.data.root), planned.manifest.table["clip_id"].tolist()
    train, val = (Strings.of(source.batches(segment), made, clip_ids) for segment in schedule.segments)
    found = {kind: {"answer": [], "found": []} for kind in KINDS}
    for seed in seeds:
        for kind in KINDS:
            model = begun(train, kind, seed, encoder)
            right, there = _trained(model, train, val, steps, seed, partial(show, f"learn, {kind}, seed {seed}"))
            found[kind]["answer"].append(right)
            found[kind]["found"].append(there)
    return found


class Strings:
    """Clips to string together: patches float16 [n, T, N, J], grounds and actions int64 [n]."""

    def __init__(self, patches: Tensor, grounds: Tensor, actions: Tensor):
        self.patches, self.grounds, self.actions = patches, grounds, actions

    @staticmethod
    def of(batches, made, clip_ids: list[str]) -> "Strings":
        """Of the valid clips of some batches."""
        patches, scenes = [], []
        for batch in batches:
            patches.append(batch["patches"][batch["valid"]].half())
            scenes += [scene_of(made, clip_ids[row]) for row in batch["row"][batch["valid"]].tolist()]
        grounds = torch.tensor([TEXTURES.index(scene.background.texture) for scene in scenes])
        if missing := [name for number, name in enumerate(TEXTURES) if not (grounds == number).any()]:
            raise InputError(
                f"data: {len(scenes)} clips, none on the {missing[0]} ground; make more with jobs/make_toy.py"
            )
        return Strings(torch.cat(patches), grounds, torch.tensor([ACTIONS.index(scene.action) for scene in scenes]))

    def draw(self, number: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Long videos [B, 5 T, N, J], the ground that is asked for [B], its action [B] and its clip [B]."""
        order = torch.stack([torch.randperm(len(TEXTURES), generator=generator) for _ in range(number)])
        pools = [(self.grounds == ground).nonzero()[:, 0] for ground in range(len(TEXTURES))]
        rows = order.clone().apply_(
            lambda ground: pools[ground][torch.randint(len(pools[ground]), (), generator=generator)]
        )
        asked = torch.randint(len(TEXTURES), (number,), generator=generator)
        where = (order == asked[:, None]).int().argmax(dim=1)
        needles = rows.gather(1, where[:, None])[:, 0]
        return self.patches[rows].flatten(1, 2), asked, self.actions[needles], where


def begun(train: Strings, kind: str, seed: int, encoder: Path | None) -> StreamingMemory:
    """A model that has learnt nothing, but for the encoder of a checkpoint where one is given."""
    torch.manual_seed(seed)
    frames, width = train.patches.shape[1], train.patches.shape[-1]
    settings = Settings(width=64, selected=frames // 2, selection=kind)  # as many segments as one clip has
    model = StreamingMemory(settings, {"label": len(ACTIONS)}, width)
    if encoder:
        load_part(str(encoder), "encoder", model.encoder, where="--")
    return model


def _trained(model: StreamingMemory, train: Strings, val: Strings, steps: int, seed: int, show) -> tuple[float, float]:
    settings, parts = model.settings, model.settings.selected
    questions = torch.nn.Embedding(len(TEXTURES), settings.width)
    optimiser = torch.optim.AdamW([*model.parameters(), *questions.parameters()], lr=2e-3)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        show(step, steps)
        tokens, asked, answer, where = train.draw(BATCH, generator)
        summaries, indicators = model.encode(tokens.float())
        vector, _ = model.answer(questions(asked), summaries, indicators)
        loss = cross_entropy(model.heads["label"](vector), answer)
        if step < steps // 2:
            scores = model.relevance(questions(asked), summaries, indicators)
            true = one_hot(where, len(TEXTURES)).bool().repeat_interleave(parts, dim=1)
            loss = loss + selection_loss(scores, true, settings.temperature).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    right, there, generator = 0, 0.0, torch.Generator().manual_seed(10_000)
    with torch.no_grad():
        for _ in range(STRINGS // BATCH):
            tokens, asked, answer, where = val.draw(BATCH, generator)
            vector, chosen = model.answer(questions(asked), *model.encode(tokens.float()))
            right += int((model.heads["label"](vector).argmax(dim=1) == answer).sum())
            there += float((chosen // parts == where[:, None]).float().mean(dim=1).sum())
    return right / STRINGS, there / STRINGS


if __name__ == "__main__":
    job.run(main)
