"""Songs as MusicXML, read and written by music21, which the package leaves to whoever wants it: pip install music21.

MusicXML is notation: notes have lengths in beats, so `write_musicxml` moves their times to a grid. MIDI keeps them.
Only the lyrics of the first verse are read. Names of chords above the staff are not sung. Where a line of the song ends
is not kept.
"""

from pathlib import Path
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile

from objadapt.errors import InputError
from objadapt.files import write_whole

from .midi import song_of
from .tuples import Song, Syllable

SUFFIXES = (".musicxml", ".mxl", ".xml")
BEAT = 0.5  # seconds of a quarter note in a written file: 120 a minute, as where a file names no tempo
GRID = 16  # parts of a quarter note that times are moved to, 31 ms each


def read_musicxml(path: Path) -> Song:
    """The song of the first part that has notes, its repeats played.

    Raises:
        InputError: music21 is not installed, no MusicXML file, no notes, a chord, a note without length, two notes
            that sound together, repeats that do not close, or a lyric that is none of the format.
    """
    music21 = _music21()
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    converter = music21.converter.Converter()
    try:
        converter.parseFile(path, format="musicxml", forceSource=True, storePickle=False)  # music21's cache is pickle
        score = converter.stream
        for name in list(score.recurse().getElementsByClass("Harmony")):
            score.remove(name, recurse=True)
        part = next((one for one in score.parts if one.recurse().notes), None)
        if part is not None and part.recurse().getElementsByClass("RepeatMark"):
            score, part = None, part.expandRepeats()
    except (music21.exceptions21.Music21Exception, ParseError, BadZipFile, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: is no MusicXML file that can be read ({reason}); export it again") from None
    if part is None:
        raise InputError(f"{path}: has no notes")
    return song_of(*_sung(part, _Clock(score or part), path), path)


class _Clock:
    """Seconds of a place in quarter notes, by the tempo marks of all parts."""

    def __init__(self, score):
        self.marks = [(float(start), float(end), mark) for start, end, mark in score.metronomeMarkBoundaries()]

    def __call__(self, place: float) -> float:
        return sum(
            mark.durationToSeconds(min(place, end) - start) for start, end, mark in self.marks if place > start
        ) + max(0.0, BEAT * (place - self.marks[-1][1]))


def _sung(part, clock: _Clock, path: Path) -> tuple[list[tuple[float, float, int]], list[tuple[float, str]]]:
    """(start, end, pitch) of each note, and (start, text) of each lyric, in seconds."""
    notes, lyrics, free = [], [], 0.0
    for one in part.stripTies().flatten().notes:
        where = f"{path}, bar {one.measureNumber}"
        if not one.isNote:
            raise InputError(f"{where}: a chord, or a note without a pitch; a song is one voice, give its melody alone")
        if one.duration.isGrace or not one.quarterLength:
            raise InputError(f"{where}: a note without length, such as a grace note; take it out")
        start, end = clock(float(one.offset)), clock(float(one.offset + one.quarterLength))
        if start < free - 1e-6:
            raise InputError(f"{where}: two notes sound together; a song is one voice, give its melody alone")
        free = end
        notes.append((start, end, one.pitch.midi))
        first = next((lyric for lyric in one.lyrics if lyric.number == 1), None)
        if first is not None and first.text:
            lyrics.append((start, first.text + "-" * (first.syllabic in ("begin", "middle"))))
    return notes, lyrics


def write_musicxml(song: Song, path: Path) -> None:
    """Write a melody or a pair in 4/4 at 120 quarter notes a minute, its times on a grid of 1/16 of one.

    A note shorter than that is that long, at the cost of the next.

    Raises:
        InputError: lyrics alone, which have no time, or music21 is not installed.
    """
    if song.kind == "lyrics":
        raise InputError("song: lyrics alone have no notes; MusicXML holds melodies and pairs")
    music21 = _music21()
    part = music21.stream.Part([music21.tempo.MetronomeMark(number=60 / BEAT), music21.meter.TimeSignature("4/4")])
    now, free = 0.0, 0  # in seconds of the song, in steps of the grid
    within = False  # whether the syllable before ends with a hyphen
    for one in (one for line in song.lines for one in line):
        for place, note in enumerate(one.notes):
            start, end = max(free, _steps(now)), _steps(now + note.seconds)
            written = music21.note.Note(note.pitch, quarterLength=max(1, end - start) / GRID)
            if one.text and not place:
                written.lyrics, within = [_lyric(music21, one, within)], one.text.endswith("-")
            if start > free:
                part.append(music21.note.Rest(quarterLength=(start - free) / GRID))
            part.append(written)
            free = start + max(1, end - start)
            now += note.seconds
        now += max(0.0, one.rest)
    score = music21.stream.Score([part.makeMeasures().makeTies().splitAtDurations(recurse=True)[0]])
    score.metadata = music21.metadata.Metadata(title=path.stem, composer="objadapt")
    exporter = music21.musicxml.m21ToXml.GeneralObjectExporter(score)
    exporter.makeNotation = False  # done above, without beams: music21 warns of its own where tied notes have some
    write_whole(path, exporter.parse().decode())


def _steps(seconds: float) -> int:
    return round(seconds / BEAT * GRID)


def _lyric(music21, one: Syllable, within: bool):
    """A syllable; a hyphen at its end says that its word goes on."""
    goes_on = one.text.endswith("-")
    kind = {(False, False): "single", (False, True): "begin", (True, True): "middle", (True, False): "end"}
    return music21.note.Lyric(text=one.text.removesuffix("-"), syllabic=kind[within, goes_on], applyRaw=True)


def check_music21() -> None:
    """InputError where music21 is not installed."""
    _music21()


def _music21():
    try:
        import music21
    except ImportError:
        raise InputError("MusicXML: needs music21; pip install music21") from None
    return music21
