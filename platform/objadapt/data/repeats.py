"""Clips that a list names more than once, and clips that several files fit: a training refuses them, a report goes on.

Readers call `repeated`. It raises, save within `told`, where what it is given is kept for the report.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from ..errors import InputError

OTHERS = 3  # names, at the most, in a message, the first among them


@dataclass(frozen=True)
class Repeat:
    """What one reader refuses.

    Attributes:
        message: why, in one line.
        clips: ids of the clips that are listed again.
        files: of clips that several files fit, these files.
    """

    message: str
    clips: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


_kept: ContextVar[list[Repeat] | None] = ContextVar("repeats", default=None)


@contextmanager
def told() -> Iterator[list[Repeat]]:
    """Within it nothing is refused for a repetition: the list fills with them instead."""
    found: list[Repeat] = []
    token = _kept.set(found)
    try:
        yield found
    finally:
        _kept.reset(token)


def repeated(repeat: Repeat) -> None:
    """Raise the repetition as InputError, or keep it for a report."""
    kept = _kept.get()
    if kept is None:
        raise InputError(repeat.message)
    kept.append(repeat)


def and_others(names: Iterable[str]) -> str:
    """` (and so are 4 more: 'b', 'c', ...)`, behind a message about the first of several names."""
    _, *others = dict.fromkeys(names)
    if not others:
        return ""
    shown = ", ".join(map(repr, others[: OTHERS - 1])) + (", ..." if len(others) >= OTHERS else "")
    return f" (and so {'are' if len(others) > 1 else 'is'} {len(others)} more: {shown})"
