"""Songs as MIDI files, read and written by mido.

A lyric stands at the first note of its syllable; notes behind it without one are its melisma. A carriage return behind
a lyric ends a line, as the MIDI association recommends (RP-017). In a file without lyrics every note is a tuple.
"""

from itertools import accumulate
from pathlib import Path

import mido

from objadapt.errors import InputError, naming

from .tuples import Note, Song, Syllable

SUFFIXES = (".mid", ".midi")
TICKS, TEMPO = 1000, 1_000_000  # a tick is a millisecond: a beat of a second has a thousand
VELOCITY, SHORTEST = 80, 0.001
LINE_END = "\r"


def write_midi(song: Song, path: Path) -> None:
    """Write a melody or a pair, to a millisecond; a negative rest is 0 there.

    Raises:
        InputError: lyrics alone, which have no time, or a note of less than a millisecond.
    """
    if song.kind == "lyrics":
        raise InputError("song: lyrics alone have no notes; MIDI holds melodies and pairs")
    track, moments = mido.MidiTrack(), [(0.0, mido.MetaMessage("set_tempo", tempo=TEMPO))]
    now = 0.0
    for line in song.lines:
        for place, one in enumerate(line):
            text = one.text + LINE_END * (place + 1 == len(line))
            if text:
                moments.append((now, mido.MetaMessage("lyrics", text=text)))
            for note in one.notes:
                if note.seconds < SHORTEST:
                    raise InputError(f"song: a note of {note.seconds:.4f} s at {now:.2f} s is none that MIDI can hold")
                moments.append((now, mido.Message("note_on", note=note.pitch, velocity=VELOCITY)))
                now += note.seconds
                moments.append((now, mido.Message("note_off", note=note.pitch)))
            now += max(0.0, one.rest)
    tick = 0
    for moment, message in moments:
        there = round(1000 * moment)
        track.append(message.copy(time=there - tick))
        tick = there
    file = mido.MidiFile(ticks_per_beat=TICKS, charset="utf-8")
    file.tracks.append(track)
    with naming(path):
        file.save(path)


def read_midi(path: Path) -> Song:
    """The song of a file: of the notes of the first track that has any and of its first channel, one after the other.

    Raises:
        InputError: no MIDI file, one whose times are no beats of one song, no notes, notes that sound together or
            begin in the same millisecond, or a lyric without a note.
    """
    try:
        file = mido.MidiFile(path, charset="utf-8")
        beats = file.type < 2 and file.ticks_per_beat > 0  # else the tracks are songs of their own, or times are frames
        events = _timed(file) if beats else []
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: is no MIDI file that can be read ({str(error) or 'it is cut off'}); export it again"
        ) from None
    if not beats:
        raise InputError(f"{path}: its times are no beats of one song (type 2, or SMPTE); export it as type 0 or 1")
    notes, lyrics = _notes(events, path), [(now, m.text) for now, m in events if m.type == "lyrics"]
    if not notes:
        raise InputError(f"{path}: has no notes")
    return song_of(notes, lyrics, path)


def _timed(file: mido.MidiFile) -> list[tuple[float, mido.Message]]:
    """(seconds, message) in the order of time: lyrics of all tracks, notes of the first track and channel with any."""
    told = [
        (tick, number, message)
        for number, track in enumerate(file.tracks)
        for tick, message in zip(accumulate(message.time for message in track), track, strict=True)
    ]
    notes = next(((number, one.channel) for _, number, one in told if one.type == "note_on"), None)
    found, now, before, tempo = [], 0.0, 0, mido.bpm2tempo(120)  # until a file says otherwise
    for tick, number, message in sorted(told, key=lambda one: one[0]):  # the tempo of any track is that of all
        now += mido.tick2second(tick - before, file.ticks_per_beat, tempo)
        before = tick
        if message.type == "set_tempo":
            tempo = message.tempo
        if message.type == "lyrics" or (number, getattr(message, "channel", None)) == notes:
            found.append((now, message))
    return found


def _notes(events: list[tuple[float, mido.Message]], path: Path) -> list[tuple[float, float, int]]:
    """(start, end, pitch) of each note; InputError where two sound at once or one never ends."""
    found, sounding = [], None
    for now, message in events:
        if message.type not in ("note_on", "note_off"):
            continue
        begins = message.type == "note_on" and message.velocity > 0
        if begins and sounding:
            raise InputError(f"{path}: two notes sound at {now:.2f} s; a song is one voice, give its track alone")
        if begins:
            sounding = now, message.note
        elif sounding and sounding[1] == message.note:
            found.append((sounding[0], now, message.note))
            sounding = None
    if sounding:
        raise InputError(f"{path}: the note at {sounding[0]:.2f} s never ends")
    return found


def song_of(notes: list[tuple[float, float, int]], lyrics: list[tuple[float, str]], path: Path) -> Song:
    """(start, end, pitch) of notes and (start, text) of lyrics put together by their times.

    Raises:
        InputError: names the file; notes or lyrics at one moment, a lyric at no note or none, or none of the format.
    """
    try:
        return _song(notes, lyrics)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _song(notes: list[tuple[float, float, int]], lyrics: list[tuple[float, str]]) -> Song:
    texts = {round(1000 * now): text for now, text in lyrics}
    if len(texts) < len(lyrics):
        raise InputError("two lyrics stand at one moment; give its melody's track alone")
    begun = [round(1000 * start) for start, _, _ in notes]
    if twice := [start for (start, *_), one, two in zip(notes, begun, begun[1:], strict=False) if one == two]:
        raise InputError(f"two notes begin at {twice[0]:.3f} s; one of them has no length, take it out")
    if lost := [text for moment, text in texts.items() if moment not in begun]:
        raise InputError(f"the lyric {lost[0]!r} stands at no note")
    texts = {moment: text.replace(",", " ") for moment, text in texts.items()}  # the format keeps commas for itself
    words = [text.strip() for text in texts.values()]
    sung = any(words)
    if sung and (begun[0] not in texts or not all(words)):
        raise InputError("some notes come before any lyric, or a lyric is empty; give every syllable its text")
    lines: list[list[Syllable]] = [[]]
    for place, ((start, end, pitch), moment) in enumerate(zip(notes, begun, strict=True)):
        rest = notes[place + 1][0] - end if place + 1 < len(notes) else 0.0
        text, note = texts.get(moment), Note(pitch, end - start)
        if sung and text is None:  # a melisma: the rest behind its last note is the syllable's
            line = lines[-1] or lines[-2]
            last = line.pop()
            if last.rest > 0.001:
                raise InputError(f"the syllable {last.text!r} rests before {start:.2f} s; give that note a lyric")
            line.append(Syllable(last.text, (*last.notes, note), rest))
            continue
        lines[-1].append(Syllable((text or "").strip() if sung else "", (note,), rest))
        if text and text.endswith(LINE_END):
            lines.append([])
    return Song("pair" if sung else "melody", tuple(tuple(line) for line in lines if line))
