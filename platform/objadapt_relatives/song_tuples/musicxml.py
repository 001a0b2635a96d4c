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
MOST_REPEATS = 32
DAMAGED = (ParseError, BadZipFile, OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError)


def read_musicxml(path: Path) -> Song:
    """The song of the first part that has notes, as it sounds, its repeats played. Cue notes are sung like others.

    Raises:
        InputError: music21 is not installed, no MusicXML file, no notes, two staves with notes, a chord, a note without
            length or pitch, two notes that sound together, a tempo without a number, repeats that do not close or have
            no end, or a lyric that is none of the format.
    """
    music21 = _music21()
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    converter = music21.converter.Converter()
    try:
        converter.parseFile(path, format="musicxml", forceSource=True, storePickle=False)  # music21's cache is pickle
        score = converter.stream.toSoundingPitch()
        part = _melody(music21, score, path)
        clock = _Clock(score, path)
        if part.recurse().getElementsByClass("RepeatMark"):
            part, clock = _repeated(part, score, path)
        _check_ties(music21, part)
        notes, lyrics = _sung(part, clock, path)
    except InputError:
        raise
    except (music21.exceptions21.Music21Exception, *DAMAGED) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: is no MusicXML file that can be read ({reason}); export it again") from None
    return song_of(notes, lyrics, path)


def _melody(music21, score, path: Path):
    """The first part with notes, without the names of chords above it."""
    for name in list(score.recurse().getElementsByClass("Harmony")):
        name.activeSite.remove(name)
    sung = [part for part in score.parts if part.recurse().notes]
    if not sung:
        raise InputError(f"{path}: has no notes")
    of_staves = [part for part in sung if isinstance(part, music21.stream.PartStaff)]
    if sung[0] in of_staves and len(of_staves) > 1:
        raise InputError(f"{path}: its first part with notes has two staves of them; give its melody alone")
    return sung[0]


def _repeated(part, score, path: Path):
    """A part with its repeats played, and its clock; the tempo marks of other parts are repeated with it."""
    if [one for one in part.recurse().getElementsByClass("Repeat") if (one.times or 0) > MOST_REPEATS]:
        raise InputError(f"{path}: a repeat of more than {MOST_REPEATS} times; write it out")
    own = {id(mark) for mark in part.recurse().getElementsByClass("MetronomeMark")}
    for mark in [mark for mark in score.recurse().getElementsByClass("MetronomeMark") if id(mark) not in own]:
        place = mark.getOffsetInHierarchy(score)
        bar = part.getElementAtOrBefore(place, ["Measure"])
        bar.insert(place - bar.offset, mark)
    played = part.expandRepeats()
    return played, _Clock(played, path)


def _check_ties(music21, part) -> None:
    """Take out ties that join no two neighbours of one pitch: music21 would swallow what stands between."""
    notes = list(part.flatten().notes)
    if not all(one.isNote for one in notes):
        return  # `_sung` refuses them
    for one, two in zip(notes, [*notes[1:], None], strict=True):
        goes = one.tie is not None and one.tie.type in ("start", "continue")
        comes = two is not None and two.tie is not None and two.tie.type in ("stop", "continue")
        fits = goes and comes and one.pitch.midi == two.pitch.midi and two.offset == one.offset + one.quarterLength
        if goes and not fits:
            one.tie = None if one.tie.type == "start" else music21.tie.Tie("stop")
        if comes and not fits:
            two.tie = None if two.tie.type == "stop" else music21.tie.Tie("start")


class _Clock:
    """Seconds of a place in quarter notes, by the tempo marks of all parts; InputError where one has no number."""

    def __init__(self, score, path: Path):
        self.marks = [(float(start), float(end), mark) for start, end, mark in score.metronomeMarkBoundaries()]
        for _, _, mark in self.marks:
            if not (mark.getQuarterBPM() or 0) > 0:
                raise InputError(f"{path}, bar {mark.measureNumber}: a tempo without a number of beats; give it one")

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
        if one.duration.isGrace or not one.quarterLength > 0:
            raise InputError(f"{where}: a note without length, such as a grace note; take it out")
        start, end = clock(float(one.offset)), clock(float(one.offset + one.quarterLength))
        if start < free - 1e-6:
            raise InputError(f"{where}: two notes sound together; a song is one voice, give its melody alone")
        free = end
        notes.append((start, end, one.pitch.midi))
        first = next((lyric for lyric in one.lyrics if lyric.number == 1), None)
        if first is not None and first.text:
            goes_on = (first.components[-1] if first.isComposite else first).syllabic in ("begin", "middle")
            lyrics.append((start, first.text + "-" * goes_on))
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
