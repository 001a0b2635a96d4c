"""The object-centric adapter: frozen patch tokens -> object slots -> states -> state changes -> classes (section 3).

Every ablation of the paper's tables is a setting of its section; the losses of Eq. 10 are put together here.
"""

import torch
from torch import Tensor, nn

from ...config import Training
from ...config_methods import ObjectCentric
from ...errors import InputError
from ..classification import classification_loss
from ..method import Method, Output, groups_of
from .distillation import distillation_loss
from .initialisation import begin_as_kmeans
from .interaction import ObjectInteraction, StateChange, TemporalAttention, frame_pairs
from .mask_overlap import mask_overlap_penalty
from .slot_attention import SlotAttention
from .temporal import temporal_loss
from .total import weighted_total

FIRST_CLIPS = 256  # clips that k-means looks at


class ObjectCentricAdapter(Method):
    """The paper's method on precomputed features.

    Args:
        settings: ablation switches, widths and losses; a projection MLP exists only where its loss is on.
        heads: classes of each head, e.g. `{"label": 174}` or `{"verb_label": 97, "noun_label": 300}`; their order is
            that of the columns of `batch["labels"]`.
        joint_width: J, width of `patches` and `cls`.
        frames: T.
        seed: with the step, what the clips of the temporal loss are drawn by.

    Raises:
        InputError: the slot width is not a multiple of the attention heads, no loss is left on, or the readout wants
            slots where there are none.
    """

    training_only = ("loss_projections",)

    def __init__(self, settings: ObjectCentric, heads: dict[str, int], joint_width: int, frames: int, seed: int = 0):
        super().__init__()
        self.settings, self.frames, self.seed = settings, frames, seed
        slots, losses = settings.slots, settings.losses
        width = settings.width or joint_width
        grouped = slots.number not in (1, "none")  # slot attention is there
        interacts = settings.object_interaction and slots.number != 1
        if width % settings.heads and (interacts or settings.temporal == "attention"):
            raise InputError(
                f"method.heads: {settings.heads} does not divide the slot width {width}; change one of the two"
            )
        ffn_width = round(settings.ffn_ratio * width)

        if grouped:
            self.slot_attention = SlotAttention(
                slots.number,  # pyright: ignore[reportArgumentType]  # `grouped`: a number
                joint_width,
                width,
                slots.iterations,
                slots.mlp,
                slots.implicit,
                slots.centred,
            )
        else:  # patches or their mean are the tokens as they are; a change of width is all that may be needed
            self.slot_attention = None
            self.token_projection = nn.Linear(joint_width, width) if width != joint_width else nn.Identity()
        drop = settings.dropout
        self.object_interaction = None
        if interacts:
            self.object_interaction = ObjectInteraction(width, settings.heads, ffn_width, dropout=drop)
        self.temporal = None
        if settings.temporal == "attention":
            self.temporal = TemporalAttention(width, settings.heads, ffn_width, drop)
        elif settings.temporal == "state_change":
            self.temporal = StateChange(width, settings.dt(frames), drop)
        self.dropout = nn.Dropout(drop)
        video_width = _slots_side_by_side(settings) * width
        self.heads = nn.ModuleDict({name: nn.Linear(video_width, classes) for name, classes in heads.items()})

        self.loss_projections = nn.ModuleDict()
        if losses.distillation.weight > 0 and grouped:
            self.loss_projections["distillation"] = _projection(width, 2 * width, joint_width)
        if losses.temporal.weight > 0 and slots.number != "none":
            self.loss_projections["temporal"] = _projection(width, width, width)
        if not (losses.classification > 0 or len(self.loss_projections) or (losses.mask_overlap > 0 and grouped)):
            raise InputError(
                f"method.losses: no loss is on at method.slots.number={slots.number}; set method.losses.classification"
                " above 0"
            )

        self.cls_heads = nn.ModuleDict()
        if settings.cls_probe:
            self.cls_heads.update({name: nn.Linear(joint_width, classes) for name, classes in heads.items()})
        if self.slot_attention is not None:
            self.first_clips = FIRST_CLIPS if slots.initialisation == "kmeans" else 0
            if slots.learning_rate == 0:
                self.slot_attention.requires_grad_(False)
            named = self.slot_attention.named_parameters()
            self.kept = tuple(f"slot_attention.{name}" for name, one in named if not one.requires_grad)

    def begin(self, tokens: Tensor) -> None:
        """Slots that begin as centroids of these tokens [f, N, J]."""
        assert self.slot_attention is not None, "without slots `first_clips` is 0"
        begin_as_kmeans(self.slot_attention, tokens, self.settings.slots.gain, self.seed)

    def parameter_groups(self, training: Training) -> list[dict]:
        """As of any method; slot attention and the classifier on cls learn at paces of their own."""
        ways = {
            "slot_attention": (self.settings.slots.learning_rate, False),
            "cls_heads": (self.settings.cls_probe, True),
        }
        parts: dict[tuple[float, bool], dict[str, nn.Parameter]] = {(1.0, False): {}}
        for name, parameter in self.named_parameters():
            parts.setdefault(ways.get(name.split(".")[0], (1.0, False)), {})[name] = parameter
        return [group for (pace, apart), named in parts.items() for group in groups_of(named, training, pace, apart)]

    @property
    def grouping(self) -> SlotAttention | None:
        """Slot attention, where there are slots."""
        return self.slot_attention

    @property
    def leaves_unused(self) -> bool:
        """Without the classification loss the heads, and what only they look through, learn nothing."""
        return self.settings.losses.classification == 0

    def forward(self, batch: dict[str, Tensor]) -> Output:
        """Classify clips from `batch["patches"]` [B, T, N, J], float16 or float32.

        With `cls_probe`, from `batch["cls"]` [B, T, J], too: each answer learns for itself, and in testing `logits` is
        the mean of their log-probabilities.
        """
        patches = batch["patches"].to(self.dtype)
        if patches.ndim != 4 or patches.shape[1] != self.frames:
            raise ValueError(f"patches: expected [B, T = {self.frames}, N, J], got {list(patches.shape)}")
        if self.training and self.settings.token_dropout:
            patches = left_tokens(patches, self.settings.token_dropout)
        slots, attention, states = self._objects(patches)
        state_changes = change_frames = None
        if self.object_interaction is not None:
            states = self.object_interaction(states)
        if self.settings.temporal == "attention":
            states = self.temporal(states)  # pyright: ignore[reportOptionalCall]  # built by this setting
        elif self.settings.temporal == "state_change":
            state_changes = self.temporal(states)  # pyright: ignore[reportOptionalCall]  # built by this setting
            change_frames = frame_pairs(self.frames, self.settings.dt(self.frames))
        dynamics = states if state_changes is None else state_changes  # [B, V or T, K, d]
        pooled = dynamics.amax(dim=1) if self.settings.readout == "max" else dynamics.mean(dim=1)  # [B, K, d]
        video = pooled.flatten(1) if self.settings.readout == "slots" else pooled.mean(dim=1)  # [B, K d] or [B, d]
        video = self.dropout(video)
        logits = {name: head(video) for name, head in self.heads.items()}
        beside = None
        if self.cls_heads:
            cls = batch["cls"].to(self.dtype).mean(dim=1)
            beside = {name: head(cls) for name, head in self.cls_heads.items()}
            if not self.training:
                logits, beside = {name: mean_answer(logits[name], beside[name]) for name in logits}, None
        return Output(logits, slots, attention, states, state_changes, change_frames, video, beside)

    def _objects(self, patches: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """Patches [B, T, N, J] -> slots and attention where there are slots, and the tokens [B, T, K or N, d]."""
        if self.slot_attention is None:
            tokens = patches.mean(dim=2, keepdim=True) if self.settings.slots.number == 1 else patches
            return None, None, self.token_projection(tokens)
        slots, attention = self.slot_attention(patches.flatten(0, 1))  # [B*T, K, d], [B*T, K, N]
        slots = slots.unflatten(0, patches.shape[:2])
        return slots, attention.unflatten(0, patches.shape[:2]), slots

    def losses(
        self, output: Output, batch: dict[str, Tensor], step: int, counts: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """This worker's share of every loss of Eq. 10; the sum over workers is the loss of the global batch.

        Args:
            output: of `forward(batch)`.
            batch: `cls` [B, T, J], `labels` int64 [B, heads] (-1: none), `valid` bool [B]; `row` int64 [B], which clip
                each is, where one may come twice.
            step: with the seed, all that the sampling of the temporal loss depends on, so that all workers draw alike.
            counts: not used; each loss counts for itself.

        Returns:
            Scalars: the terms that are on, unweighted ("classification", "cls_probe", "distillation", "temporal",
            "mask_overlap"); their weighted "total"; and detached counts, shares as well, with a "/" in the key.
        """
        weights = self.settings.losses
        labels, valid = batch["labels"], batch["valid"]
        terms: dict[str, Tensor] = {}
        told: dict[str, Tensor] = {}
        # losses are float32, whatever autocast made of the outputs
        with torch.autocast(valid.device.type, enabled=False):
            if weights.classification > 0:
                for name, answers in (("classification", output.logits), ("cls_probe", output.beside)):
                    if answers is not None:
                        logits = {head: scores.to(self.dtype) for head, scores in answers.items()}
                        terms[name] = classification_loss(logits, labels, valid, smoothing=weights.label_smoothing)
            if "distillation" in self.loss_projections:
                # [B, T, K, J]
                projected = self.loss_projections["distillation"](
                    output.slots.to(self.dtype)  # pyright: ignore[reportOptionalMemberAccess]  # this loss has slots
                )
                terms["distillation"], found = distillation_loss(
                    projected, batch["cls"], valid, weights.distillation, batch.get("row")
                )
                told |= found
            if "temporal" in self.loss_projections:
                dynamics = output.states if output.state_changes is None else output.state_changes
                # [B, V, K, d]
                projected = self.loss_projections["temporal"](
                    dynamics.to(self.dtype)  # pyright: ignore[reportOptionalMemberAccess]  # states are always there
                )
                terms["temporal"], found = temporal_loss(
                    projected, labels[:, 0], valid, step, weights.temporal, self.seed, batch.get("row")
                )
                told |= found
            if weights.mask_overlap > 0 and output.attention is not None:
                terms["mask_overlap"] = mask_overlap_penalty(output.attention.to(self.dtype), valid)
            return {**terms, "total": weighted_total(terms, weights), **told}


def _slots_side_by_side(settings: ObjectCentric) -> int:
    """Vectors that the readout hands to the heads: one, or one a slot."""
    if settings.readout != "slots":
        return 1
    if settings.slots.number == "none":
        raise InputError("method.readout: slots needs slots; use mean with method.slots.number=none")
    return settings.slots.number


def mean_answer(one: Tensor, other: Tensor) -> Tensor:
    """Two answers' logits [B, C] -> the mean of their log-probabilities."""
    return (one.log_softmax(dim=1) + other.log_softmax(dim=1)) / 2


def _projection(width: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, out))


def left_tokens(patches: Tensor, share: float) -> Tensor:
    """A random choice of the N tokens of each frame, [B, T, N, J] -> [B, T, (1 - share) N, J]."""
    clips, frames, number, width = patches.shape
    left = max(1, round((1 - share) * number))
    places = torch.rand(clips, frames, number, device=patches.device).argsort(dim=2)[:, :, :left]
    return patches.gather(2, places[..., None].expand(-1, -1, -1, width))
