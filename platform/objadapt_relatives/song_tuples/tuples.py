"""A song as text: `lyric,<C4>,<137>,<79>` for each syllable, joined by `|`, in numbered lines (section 3.1).

A syllable sung on several notes has their pitches, then as many durations, then one rest:
`ah,<C4>,<D4>,<137>,<120>,<79>`. A melody has no lyrics, and lyrics have nothing else. Which of the three a text
is, its wrapper says.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from objadapt.errors import InputError

from .bins import BINS, decode, encode

Kind = Literal["lyrics", "melody", "pair"]
WRAPPERS: dict[Kind, tuple[str, str]] = {
    "lyrics": ("<bol>", "<eol>"),
    "melody": ("<bom>", "<eom>"),
    "pair": ("<bop>", "<eop>"),
}
STEPS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
PITCHES = tuple(f"<{step}{octave}>" for octave in range(-1, 10) for step in STEPS)
TOKENS = (*(end for ends in WRAPPERS.values() for end in ends), *PITCHES, *(f"<{number}>" for number in range(BINS)))
NUMBER = {token: number for number, token in enumerate(TOKENS)}  # token -> its place among the 650
HIGHEST = 127  # of MIDI; the five pitches above it are tokens that no song has
_LINE = re.compile(r"The ([a-z-]+) line:")
_ONES = "first second third fourth fifth sixth seventh eighth ninth".split()
_TEENS = "tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth".split()


@dataclass(frozen=True)
class Note:
    """A pitch as MIDI counts it, 60 = C4, and how long it sounds, in seconds."""

    pitch: int
    seconds: float

    def __post_init__(self):
        if not 0 <= self.pitch <= HIGHEST:
            raise InputError(f"pitch: {self.pitch} is not one of 0 to {HIGHEST}")


@dataclass(frozen=True)
class Syllable:
    """What is sung on one note or, a melisma, on several; and the rest behind it, in seconds.

    No text: it is of a melody. No notes: it is of lyrics.
    """

    text: str
    notes: tuple[Note, ...] = ()
    rest: float = 0.0

    def __post_init__(self):
        if re.search(r"[,|<>\n\r]", self.text) or self.text != self.text.strip() or _LINE.search(self.text):
            raise InputError(f"lyric: {self.text!r} has one of , | < >, a line's name or space at an end; take it out")


@dataclass(frozen=True)
class Song:
    """Lines of syllables, all of one kind."""

    kind: Kind
    lines: tuple[tuple[Syllable, ...], ...]

    def __post_init__(self):
        for number, line in enumerate(self.lines, 1):
            if not line:
                raise InputError(f"line {number}: is empty")
            for place, one in enumerate(line, 1):
                if bool(one.text) == (self.kind == "melody") or bool(one.notes) == (self.kind == "lyrics"):
                    raise InputError(f"line {number}, syllable {place}: is none of a {self.kind}")

    def transposed(self, semitones: int) -> "Song":
        """The song so many semitones higher; InputError where that leaves the range of MIDI."""
        return self._mapped(lambda note: replace(note, pitch=note.pitch + semitones))

    def binned(self) -> "Song":
        """The song with every time as its bin says it, which is what comes back from its text."""
        lines = self._mapped(lambda note: replace(note, seconds=decode(encode(note.seconds)))).lines
        rests = (tuple(replace(one, rest=decode(encode(one.rest))) for one in line) for line in lines)
        return Song(self.kind, tuple(rests))

    def _mapped(self, change) -> "Song":
        lines = (tuple(replace(one, notes=tuple(map(change, one.notes))) for one in line) for line in self.lines)
        return Song(self.kind, tuple(lines))


def write(song: Song) -> str:
    """The text of a song, which `read` understands.

    Raises:
        InputError: more than 99 lines.
    """
    lines = [f"The {ordinal(n)} line:{'|'.join(_written(one) for one in line)}" for n, line in enumerate(song.lines, 1)]
    begin, end = WRAPPERS[song.kind]
    return f"{begin}{' '.join(lines)}{end}"


def read(text: str) -> Song:
    """The song that a text says, and nothing else than that: every departure from the format is refused.

    Raises:
        InputError: which line and tuple, and what is wrong with it.
    """
    text = text.strip()
    kind: Kind | None = next(
        (kind for kind, (begin, end) in WRAPPERS.items() if text.startswith(begin) and text.endswith(end)), None
    )
    if kind is None:
        raise InputError(f"song: begins and ends with none of {', '.join(f'{b}...{e}' for b, e in WRAPPERS.values())}")
    begin, end = WRAPPERS[kind]
    before, *parts = _LINE.split(text[len(begin) : -len(end)])
    if before or not parts:
        raise InputError(f'song: {before[:30]!r} stands where "The first line:" must')
    lines = []
    for number, (named, line) in enumerate(zip(parts[::2], parts[1::2], strict=True), 1):
        if named != ordinal(number):
            raise InputError(f'song: "The {named} line:" stands where "The {ordinal(number)} line:" must')
        content = line if 2 * number == len(parts) else line.removesuffix(" ")
        lines.append(
            tuple(_read(one, kind, f"line {number}, tuple {n}") for n, one in enumerate(content.split("|"), 1))
        )
    return Song(kind, tuple(lines))


def melody_tokens(song: Song) -> list[int]:
    """Numbers below 650 of a song's notes and times, between the marks of a melody; its lyrics are left out."""
    begin, end = WRAPPERS["melody"]
    notes = [token for line in song.lines for one in line for token in _fields(one) if token in NUMBER]
    return [NUMBER[token] for token in (begin, *notes, end)]


def melody_of(tokens: Iterable[int]) -> Song:
    """The melody of one line that tokens say; the inverse of `melody_tokens` for a melody of one line.

    Raises:
        InputError: tokens that are no tuples.
    """
    named = [TOKENS[number] for number in tokens]
    if (*named[:1], *named[1:][-1:]) != WRAPPERS["melody"]:
        raise InputError(f"melody: {len(named)} tokens that are not within {'...'.join(WRAPPERS['melody'])}")
    fields = named[1:-1]
    tuples: list[list[str]] = [[]]
    for place, field in enumerate(fields):
        if place and field in PITCHES and fields[place - 1] not in PITCHES:  # a pitch behind a time begins a tuple
            tuples.append([])
        tuples[-1].append(field)
    line = tuple(_read(",".join(one), "melody", f"tuple {number}") for number, one in enumerate(tuples, 1))
    return Song("melody", (line,))


def ordinal(number: int) -> str:
    """first, ..., ninety-ninth; InputError beyond."""
    if not 1 <= number <= 99:
        raise InputError(f"song: line {number}; a song has 1 to 99 lines")
    tens, one = divmod(number, 10)
    if tens == 0:
        return _ONES[one - 1]
    if tens == 1:
        return _TEENS[one]
    ten = ("twent", "thirt", "fort", "fift", "sixt", "sevent", "eight", "ninet")[tens - 2]
    return f"{ten}y-{_ONES[one - 1]}" if one else f"{ten}ieth"


def _fields(one: Syllable) -> list[str]:
    """Of a tuple: lyric, pitches, durations, rest."""
    times = [f"<{encode(seconds)}>" for seconds in (*(note.seconds for note in one.notes), one.rest)]
    return [one.text] * bool(one.text) + [PITCHES[note.pitch] for note in one.notes] + times * bool(one.notes)


def _written(one: Syllable) -> str:
    return ",".join(_fields(one))


def _read(text: str, kind: Kind, where: str) -> Syllable:
    """One tuple."""
    lyric, fields = "", text.split(",")
    if kind != "melody":
        lyric, *fields = fields
        if not lyric:
            raise InputError(f"{where}: {text!r} has no lyric")
    if kind == "lyrics":
        if fields:
            raise InputError(f"{where}: {text!r} has notes, and the text is of lyrics")
        return Syllable(lyric)
    pitches = [PITCHES.index(field) for field in fields if field in PITCHES]
    times = [NUMBER[field] - NUMBER["<0>"] for field in fields if field in NUMBER and field not in PITCHES]
    ordered = [*(PITCHES[pitch] for pitch in pitches), *(f"<{time}>" for time in times)]
    if not pitches or len(times) != len(pitches) + 1 or fields != ordered or min(times) < 0:
        raise InputError(f"{where}: {text!r} is not n pitches, n durations and a rest")
    notes = (Note(pitch, decode(time)) for pitch, time in zip(pitches, times, strict=False))
    return Syllable(lyric, tuple(notes), decode(times[-1]))
