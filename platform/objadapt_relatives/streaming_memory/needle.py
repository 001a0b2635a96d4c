"""A needle in a long video: what happened on the striped ground? Toy data, Object Actions strung together.

    python -m objadapt_relatives.streaming_memory.needle --config objadapt_relatives.streaming_memory.toy

`PYTHONPATH=platform` in a checkout. A long video is five clips, one on each ground, in any order. The question is a
ground, the answer the action that happened there. A model learns here, from strings of training clips. Strings of
validation clips judge it, by the segments that it selects by the question, and by the last segments in their place.
With --begin it begins as a training on single clips ended, the first of the paper's two stages:

    python jobs/train.py --config objadapt_relatives.streaming_memory.toy name=single method.settings.selected=4
    python -m objadapt_relatives.streaming_memory.needle --config objadapt_relatives.streaming_memory.toy --begin single
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import Embedding
from torch.nn.functional import cross_entropy, one_hot

from objadapt import job
from objadapt.config_file import load_config, validate
from objadapt.data.shapes import TEXTURES
from objadapt.data.toy_scenes import ACTIONS
from objadapt.declared import CONFIGS, find
from objadapt.errors import InputError
from objadapt.plan import Plan
from objadapt.run_folder import WEIGHTS
from objadapt.runs.names import checkpoint_given
from objadapt.training.display import Display
from objadapt.training.state import read_state

from ..probes import scene_of, toy_options
from ..stored_clips import ONE_VIEW, stored_clips
from .method import StreamingMemory
from .selection import selection_loss
from .settings import Settings

BATCH, STRINGS = 16, 400  # long videos a step, and of the test
KINDS = "adaptive", "last"
HEAD, LEARNING_RATE, NEAR = "label", 1e-3, 0.1


def main():
    options = job.parser(__doc__)
    options.add_argument("--config", required=True, metavar="FILE", help="of a data set that is Object Actions")
    options.add_argument(
        "--steps", type=int, default=600, help="of each training; the first half knows the true segments"
    )
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--begin", metavar="CHECKPOINT", help="a finished run of this config, its folder or name")
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
    begin = checkpoint_given(arguments.begin, arguments.overrides) if arguments.begin else None
    with Display() as show:
        found = needle(config, arguments.steps, range(arguments.seeds), begin, show)
    for kind, runs in found.items():
        for name, values in runs.items():
            error = f" ± {100 * np.std(values, ddof=1) / len(values) ** 0.5:.1f}" if len(values) > 1 else ""
            print(f"{kind:<10} {name:<8} {100 * np.mean(values):.1f}{error} %")
    print(f"chance     answer   {100 / len(ACTIONS):.1f} %\nchance     found    {100 / len(TEXTURES):.1f} %")
    print("toy numbers: Object Actions strung together")
    job.write_json(arguments.json, found)


def needle(
    config, steps: int, seeds: range, begin: Path | None = None, show=lambda *_: None
) -> dict[str, dict[str, list[float]]]:
    """Selection -> the share of right answers, and that of the needle's among the chosen segments, a value a seed.

    Args:
        begin: folder of a checkpoint that each model begins as.

    Raises:
        InputError: `begin` is of another backbone or has other settings, or clips that lack a ground.
    """
    from objadapt.data.manifest import build_manifest
    from objadapt.plan import plan

    job.join_cluster()
    planned = plan(config, build_manifest(config.data, config.seed))
    single = None if begin is None else single_clips(begin, planned)
    source, schedule = stored_clips(planned)
    made, clip_ids = toy_options(config.data.root), planned.manifest.table["clip_id"].tolist()
    train, val = (Strings.of(source.batches(segment), made, clip_ids) for segment in schedule.segments)
    found = {kind: {"answer": [], "found": []} for kind in KINDS}
    for seed in seeds:
        learner = begun(train, seed, single)
        _train(learner, train, steps, seed, partial(show, f"learn, seed {seed}"))
        for kind in KINDS:
            right, there = _judged(learner, val, kind)
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


def settings_of(frames: int, kind: str) -> Settings:
    """What a needle's model is built by: as many segments are selected as a clip of so many frames has."""
    return Settings(width=64, selected=frames // 2, selection=kind)


def single_clips(folder: Path, planned: Plan) -> dict[str, Tensor]:
    """Weights of a training on single clips.

    Raises:
        InputError: no checkpoint of this method, of another backbone, or of settings that make another model.
    """
    state = read_state(folder)
    if state.backbone_hash != planned.backbone_hash:
        raise InputError(f"--begin: {folder} is of another backbone; give the same")
    method = validate(state.config).method
    if method.module != "objadapt_relatives.streaming_memory":
        raise InputError(f"--begin: {folder} is of method {method.module or method.name}")
    given, wanted = Settings(**method.settings), settings_of(planned.config.sampling.frames, "adaptive")
    for name in Settings.model_fields:
        has, needs = getattr(given, name), getattr(wanted, name)
        if name not in ("selection", "temperature") and has != needs:
            raise InputError(f"--begin: {folder} has method.settings.{name}={has}; train one with {needs}")
    return load_file(folder / WEIGHTS)


def begun(train: Strings, seed: int, single: dict[str, Tensor] | None) -> tuple[StreamingMemory, Embedding]:
    """A model that has learnt nothing, or what single clips teach; and its questions, one for each ground."""
    torch.manual_seed(seed)
    model = StreamingMemory(
        settings_of(train.patches.shape[1], "adaptive"), {HEAD: len(ACTIONS)}, train.patches.shape[-1]
    )
    questions = Embedding(len(TEXTURES), model.settings.width)
    if single is not None:
        model.load_learned_state(single)
        with torch.no_grad():  # they begin near the one question that the model knows
            questions.weight.mul_(NEAR).add_(model.questions[HEAD])
    return model, questions


def _train(learner: tuple[StreamingMemory, Embedding], train: Strings, steps: int, seed: int, show) -> None:
    model, questions = learner
    parts, temperature = model.settings.selected, model.settings.temperature
    optimiser = torch.optim.AdamW([*model.parameters(), *questions.parameters()], lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        show(step, steps)
        tokens, asked, answer, where = train.draw(BATCH, generator)
        summaries, indicators = model.encode(tokens.float())
        question = questions(asked)
        if step < steps // 2:  # the warm-up: the true segments are known, and are what the answer is read from
            scores = model.relevance(question, summaries, indicators)
            true = one_hot(where, len(TEXTURES)).bool().repeat_interleave(parts, dim=1)
            vector = model.answerer(question, summaries[true].unflatten(0, (len(asked), parts)))
            loss = selection_loss(scores, true, temperature).mean()
        else:
            vector, _ = model.answer(question, summaries, indicators)
            loss = 0.0
        loss = loss + cross_entropy(model.heads[HEAD](vector), answer)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


@torch.no_grad()
def _judged(learner: tuple[StreamingMemory, Embedding], val: Strings, kind: str) -> tuple[float, float]:
    """Shares of right answers and of the needle's among the chosen segments, of `STRINGS` long videos."""
    model, questions = learner
    parts = model.settings.selected
    model.settings = settings_of(2 * parts, kind)
    model.eval()
    right, there, generator = 0, 0.0, torch.Generator().manual_seed(10_000)
    for _ in range(STRINGS // BATCH):
        tokens, asked, answer, where = val.draw(BATCH, generator)
        vector, chosen = model.answer(questions(asked), *model.encode(tokens.float()))
        right += int((model.heads[HEAD](vector).argmax(dim=1) == answer).sum())
        there += float((chosen // parts == where[:, None]).float().mean(dim=1).sum())
    return right / STRINGS, there / STRINGS


if __name__ == "__main__":
    job.run(main)
