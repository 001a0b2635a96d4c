"""A melody drawn as notes over time, for who has no instrument at hand."""

import warnings
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from .tuples import STEPS, Song


def write_notes(song: Song, path: Path, title: str) -> str:
    """Write a PNG: a bar for each note, as long as it sounds, seconds to the right and pitches upward.

    Lyrics stand above their first note; a song of lyrics alone has nothing to draw.

    Returns:
        The signs that the font does not have, which are drawn as boxes.
    """
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axes, now, pitches = figure.subplots(), 0.0, set()
    for syllable in (one for line in song.lines for one in line):
        for place, note in enumerate(syllable.notes):
            axes.barh(note.pitch, note.seconds, left=now, height=0.7, color="#3b6ea5", edgecolor="white")
            if syllable.text and not place:
                axes.annotate(syllable.text, (now, note.pitch + 0.5), fontsize=7, parse_math=False)
            pitches.add(note.pitch)
            now += note.seconds
        now += max(0.0, syllable.rest)  # as MIDI has it
    shown = sorted(pitches)
    axes.set_yticks(shown, [f"{STEPS[pitch % 12]}{pitch // 12 - 1}" for pitch in shown], fontsize=8)
    axes.set(xlim=(0, now or 1), xlabel="seconds")
    axes.set_title(title, parse_math=False)
    axes.grid(axis="y", linewidth=0.3)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(path, dpi=110)
    known = get_font(findfont(FontProperties())).get_charmap()
    texts = [title, *(one.text for line in song.lines for one in line)]
    return "".join(dict.fromkeys(sign for text in texts for sign in text if ord(sign) not in known))
