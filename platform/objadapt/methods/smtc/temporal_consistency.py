"""The losses of SMTC: kinds are apart, and both kinds and instances are the same in the next frame.

b is a pair of frames: the student sees one, its EMA teacher the other. S kinds, P instances of each, N patches.
"""

from itertools import permutations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .transport import cosines
from .two_stages import TINY


def overlap(maps: Tensor) -> Tensor:
    """Mean cosine between the maps of different kinds, [b, S, N] -> [b]; 0 with a single kind."""
    kinds = maps.shape[1]
    if kinds == 1:
        return maps.new_zeros(len(maps))
    alike = cosines(maps, maps)  # [b, S, S]
    return (alike.sum(dim=(1, 2)) - alike.diagonal(dim1=1, dim2=2).sum(dim=1)) / (kinds * (kinds - 1))


def transported(student: Tensor, teacher: Tensor, plan: Tensor) -> Tensor:
    """Cross entropy of the student's kinds with the teacher's, patch by patch as the plan says where each went.

    Args:
        student, teacher: maps [b, S, N], sum to 1 over S.
        plan: [b, N of the student, N of the teacher], sums to 1.

    Returns:
        [b]: - sum over patches i, j of plan_ij sum over kinds of teacher_j log student_i.
    """
    expected = plan @ teacher.transpose(1, 2)  # [b, N, S]
    return -(expected * student.clamp(min=TINY).log().transpose(1, 2)).sum(dim=(1, 2))


def matched(alike: Tensor) -> Tensor:
    """The assignment of P instances to P others with the largest sum of `alike` [..., P, P]: int64 [..., P].

    All P! assignments are tried; there are 24 of four.
    """
    number = alike.shape[-1]
    every = torch.tensor(list(permutations(range(number))), device=alike.device)  # [P!, P]
    places = torch.arange(number, device=alike.device)
    return every[alike[..., places, every].sum(dim=-1).argmax(dim=-1)]


def instance_loss(student: Tensor, teacher: Tensor, valid: Tensor, valid_teacher: Tensor, margin: float) -> Tensor:
    """Instances are like those that they are matched with, and unlike the others of their kind.

    Args:
        student, teacher: slots [b, S, P, J]; the teacher's without gradient.
        valid, valid_teacher: bool [b, S, P]: what counts as an instance.
        margin: cosine below which others are unlike enough.

    Returns:
        [b]: mean over the student's valid instances of
        mean relu(cosine to others - margin) - cosine to the match, where that is valid.
    """
    alike = normalize(student, dim=3) @ normalize(teacher, dim=3).transpose(2, 3)  # [b, S, P, P]
    match = matched(alike.detach())[..., None]
    positive = alike.gather(3, match)[..., 0] * valid_teacher.gather(2, match[..., 0])
    others = torch.ones_like(alike).scatter(3, match, 0)
    negative = ((alike - margin).relu() * others).sum(dim=3) / others.sum(dim=3).clamp(min=1)
    counted = valid.to(alike.dtype)
    return ((negative - positive) * counted).sum(dim=(1, 2)) / counted.sum(dim=(1, 2)).clamp(min=1)
