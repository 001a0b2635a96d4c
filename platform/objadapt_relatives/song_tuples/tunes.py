"""Procedural tunes, to learn from without any collection of songs: a motif, again, higher, and an ending.

Every tune has a key, a tempo and a rhythm of its own. Whoever reads only the last token cannot know them.
"""

from random import Random

from .tuples import Note, Song, Syllable

MAJOR = (0, 2, 4, 5, 7, 9, 11)
BEATS = (0.5, 1.0, 1.0, 1.5, 2.0)
MOTIF = 4  # notes


def tune(random: Random) -> Song:
    """A melody of one line: 4 motifs of 4 notes."""
    tonic, beat = random.randrange(55, 67), random.uniform(0.25, 0.6)
    degrees = [random.randrange(0, 5)]
    for _ in range(MOTIF - 1):
        degrees.append(max(0, min(9, degrees[-1] + random.choice((-2, -1, 1, 2)))))
    beats = [random.choice(BEATS) for _ in range(MOTIF)]
    higher = random.randrange(1, 4)
    phrases = [degrees, degrees, [degree + higher for degree in degrees], [*degrees[:-1], 0]]
    line = []
    for phrase in phrases:
        for place, (degree, length) in enumerate(zip(phrase, beats, strict=True)):
            pitch = tonic + 12 * (degree // len(MAJOR)) + MAJOR[degree % len(MAJOR)]
            rest = beat / 2 if place + 1 == MOTIF else 0.0
            line.append(Syllable("", (Note(pitch, beat * length),), rest))
    return Song("melody", (tuple(line),))
