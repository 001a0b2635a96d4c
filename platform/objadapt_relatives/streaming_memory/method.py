"""Streaming memory as a method: clips one after the other, a question a head, classes as answers."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from objadapt.config import Experiment
from objadapt.errors import InputError
from objadapt.methods.classification import classification_loss
from objadapt.methods.method import Method, Output

from .encoder import StreamingEncoder
from .selection import last_clips, relevance, straight_through, top_clips
from .settings import Settings


class Answerer(nn.Module):
    """A question and the V x M tokens of the chosen clips, whatever the length of the video -> a vector."""

    def __init__(self, settings: Settings):
        super().__init__()
        width = settings.width
        self.shape = settings.selected, settings.memory_tokens
        self.rank = nn.Parameter(torch.randn(settings.selected, 1, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, settings.heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(
            layer, settings.answer_layers, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )

    def tokens(self, question: Tensor, picked: Tensor) -> Tensor:
        """[B, 1 + V M, d]; a video of fewer clips than V leaves zeros."""
        lacking = self.shape[0] - picked.shape[1]
        filled = pad(picked, (0, 0, 0, 0, 0, lacking)) + self.rank  # [B, V, M, d]
        return torch.cat([question[:, None], filled.flatten(1, 2)], dim=1)

    def forward(self, question: Tensor, picked: Tensor) -> Tensor:
        """Question [B, d], chosen summaries [B, up to V, M, d] -> [B, d]."""
        return self.layers(self.tokens(question, picked))[:, 0]


class StreamingMemory(Method):
    """Each head asks a question of its own, whose embedding is learned; further questions may be given to `answer`.

    Args:
        heads: classes of each head.
        joint_width: J.
    """

    splits_batches = True

    def __init__(self, settings: Settings, heads: dict[str, int], joint_width: int):
        super().__init__()
        self.settings = settings
        self.encoder = StreamingEncoder(settings, joint_width)
        self.answerer = Answerer(settings)
        width = settings.width
        self.questions = nn.ParameterDict({name: nn.Parameter(torch.randn(width) * 0.02) for name in heads})
        self.heads = nn.ModuleDict({name: nn.Linear(width, classes) for name, classes in heads.items()})

    @property
    def leaves_unused(self) -> bool:
        """Some choices leave parts of the encoder without a gradient, such as the memory where there is one clip."""
        return True

    def encode(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """All clips of [B, T, N, J]: summaries [B, K, M, d] and indicators [B, K, d]; T a multiple of clip_frames."""
        memory, found = self.encoder.begin(len(patches)), []
        for number, clip in enumerate(patches.split(self.settings.clip_frames, dim=1)):
            memory, indicator = self.encoder(clip, memory, number)
            found.append((memory, indicator))
        summaries, indicators = (torch.stack(each, dim=1) for each in zip(*found, strict=True))
        return summaries, indicators

    def relevance(self, question: Tensor, summaries: Tensor, indicators: Tensor) -> Tensor:
        """How much each clip has to do with a question [B, d]: cosines [B, K]."""
        return relevance(self.encoder.ask(question, summaries[:, -1]), indicators)

    def choose(self, scores: Tensor) -> Tensor:
        """Numbers of the clips that the answerer sees, int64 [B, up to V], by scores [B, K]."""
        settings = self.settings
        if settings.selection == "last":
            return last_clips(scores, settings.selected)
        return top_clips(scores, settings.selected, self.training, settings.temperature)

    def answer(self, question: Tensor, summaries: Tensor, indicators: Tensor) -> tuple[Tensor, Tensor]:
        """A vector [B, d] that answers a question [B, d] from an encoding, and the clips it was read from [B, V]."""
        scores = self.relevance(question, summaries, indicators)
        chosen = self.choose(scores)
        picked = straight_through(summaries, scores, chosen, self.settings.temperature)
        return self.answerer(question, picked), chosen

    def forward(self, batch: dict[str, Tensor]) -> Output:
        """Encode `batch["patches"]` once, and answer the question of each head."""
        summaries, indicators = self.encode(batch["patches"].to(self.dtype))
        vectors = {
            name: self.answer(self.questions[name].expand(len(summaries), -1), summaries, indicators)[0]
            for name in self.heads  # in their order, which a ParameterDict does not keep
        }
        logits = {name: self.heads[name](vector) for name, vector in vectors.items()}
        return Output(logits, video=torch.stack(list(vectors.values())).mean(dim=0))

    def losses(
        self, output: Output, batch: dict[str, Tensor], step: int, counts: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Cross entropy; the selection learns from it alone, as in the published weak supervision."""
        logits = {name: scores.to(self.dtype) for name, scores in output.logits.items()}
        labelled = None if counts is None else counts["labelled"]
        loss = classification_loss(logits, batch["labels"], batch["valid"], labelled)
        return {"classification": loss, "total": loss}


def build(settings: Settings, config: Experiment, heads: dict[str, int], joint_width: int) -> StreamingMemory:
    """InputError where the frames make no whole clips."""
    frames = config.sampling.frames
    if frames % settings.clip_frames:
        raise InputError(
            f"method.settings.clip_frames: {settings.clip_frames} does not divide sampling.frames = {frames}"
        )
    return StreamingMemory(settings, heads, joint_width)
