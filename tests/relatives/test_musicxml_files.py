"""Songs as MusicXML: what is written is read again, notation of others, files that are none."""

import sys
import zipfile
from random import Random

import pytest

from objadapt.errors import InputError
from objadapt_relatives.song_tuples.compose import songs_to_learn
from objadapt_relatives.song_tuples.midi import write_midi
from objadapt_relatives.song_tuples.musicxml import BEAT, GRID, read_musicxml, write_musicxml
from objadapt_relatives.song_tuples.tunes import tune
from objadapt_relatives.song_tuples.tuples import Note, Song, Syllable

STEP = BEAT / GRID
HEAD = '<score-partwise version="4.0"><part-list>{parts}</part-list>{content}</score-partwise>'
FOUR = "<attributes><divisions>2</divisions><time><beats>4</beats><beat-type>4</beat-type></time></attributes>"


def note(step: str, halves: int, inside: str = "", first: str = "") -> str:
    """A note of so many eighths."""
    return (
        f"<note>{first}<pitch><step>{step}</step><octave>4</octave></pitch><duration>{halves}</duration>{inside}</note>"
    )


def lyric(text: str, syllabic: str = "single", verse: int = 1) -> str:
    return f'<lyric number="{verse}"><syllabic>{syllabic}</syllabic><text>{text}</text></lyric>'


def saved(path, *parts: tuple[str, ...]):
    """Parts of bars."""
    listed = "".join(f'<score-part id="P{n}"><part-name>{n}</part-name></score-part>' for n, _ in enumerate(parts))
    bars = ["".join(f'<measure number="{n}">{bar}</measure>' for n, bar in enumerate(part, 1)) for part in parts]
    content = "".join(f'<part id="P{n}">{bar}</part>' for n, bar in enumerate(bars))
    path.write_text(HEAD.format(parts=listed, content=content))
    return path


def flat(song: Song) -> list[tuple[str, int, float]]:
    return [(one.text, note.pitch, note.seconds) for line in song.lines for one in line for note in one.notes]


def starts(song: Song) -> list[float]:
    now, found = 0.0, []
    for one in (one for line in song.lines for one in line):
        for sounding in one.notes:
            found.append(now)
            now += sounding.seconds
        now += one.rest
    return found


def test_what_is_written_is_read_again_to_a_grid(tmp_path):
    for number in range(20):
        song = tune(Random(number))
        write_musicxml(song, tmp_path / "a.musicxml")
        again = read_musicxml(tmp_path / "a.musicxml")
        assert [pitch for _, pitch, _ in flat(again)] == [pitch for _, pitch, _ in flat(song)]
        late = [abs(one - two) for one, two in zip(starts(again), starts(song), strict=True)]
        assert max(late) <= STEP / 2 + 1e-9, "rounding does not add up over the song"


def test_words_hyphens_and_melismata_come_back(tmp_path):
    line = (
        Syllable("Twin-", (Note(60, 0.5),), 0.125),
        Syllable("kle", (Note(62, 0.25), Note(64, 0.25))),
        Syllable("là", (Note(65, 1.0),)),
    )
    write_musicxml(Song("pair", (line,)), tmp_path / "a.musicxml")
    assert read_musicxml(tmp_path / "a.musicxml") == Song("pair", (line,))


def test_a_note_below_the_grid_is_kept_at_the_cost_of_the_next(tmp_path):
    short = Song("melody", ((Syllable("", (Note(60, 0.004),)), Syllable("", (Note(62, 0.5),))),))
    write_musicxml(short, tmp_path / "a.musicxml")
    assert flat(read_musicxml(tmp_path / "a.musicxml")) == [("", 60, STEP), ("", 62, 0.5 - STEP)]
    with pytest.raises(InputError, match="lyrics alone have no notes"):
        write_musicxml(Song("lyrics", ((Syllable("la"),),)), tmp_path / "b.musicxml")


def test_notation_of_others(tmp_path):
    tempo = '<direction><direction-type/><sound tempo="60"/></direction>'
    bars = (
        FOUR + note("G", 4, lyric("hel", "begin") + lyric("other", verse=2)) + note("A", 4, lyric("lo", "end")),
        tempo + note("C", 8, '<tie type="start"/>' + lyric("long")),
        note("C", 8, '<tie type="stop"/>'),
    )
    found = read_musicxml(saved(tmp_path / "a.musicxml", bars))
    assert flat(found) == [("hel-", 67, 1.0), ("lo", 69, 1.0), ("long", 60, 8.0)]
    with zipfile.ZipFile(tmp_path / "a.mxl", "w") as file:
        file.write(tmp_path / "a.musicxml", "a.musicxml")
        file.writestr(
            "META-INF/container.xml",
            '<container><rootfiles><rootfile full-path="a.musicxml"/></rootfiles></container>',
        )
    assert read_musicxml(tmp_path / "a.mxl") == found


def test_names_of_chords_are_not_sung(tmp_path):
    name = "<harmony><root><root-step>C</root-step></root><kind>major</kind></harmony>"
    found = read_musicxml(saved(tmp_path / "a.musicxml", (FOUR + name + note("C", 8), note("D", 8))))
    assert flat(found) == [("", 60, 2.0), ("", 62, 2.0)]
    with pytest.raises(InputError, match="has no notes"):
        read_musicxml(saved(tmp_path / "b.musicxml", (FOUR + name + "<note><rest/><duration>8</duration></note>",)))


def test_repeats_are_played_and_the_first_part_with_notes_is_sung(tmp_path):
    silent = (FOUR + "<note><rest/><duration>8</duration></note>",)
    bars = (FOUR + note("C", 8) + '<barline location="right"><repeat direction="backward"/></barline>', note("D", 8))
    other = (FOUR + note("E", 8), note("E", 8))
    found = flat(read_musicxml(saved(tmp_path / "a.xml", silent, bars, other)))
    assert [pitch for _, pitch, _ in found] == [60, 60, 62] and [length for *_, length in found] == [2.0] * 3


@pytest.mark.parametrize(
    ("bar", "told"),
    [
        (note("C", 8) + note("E", 8, first="<chord/>"), "bar 1: a chord"),
        (
            "<note><unpitched/><duration>8</duration></note>",
            "bar 1: a chord, or a note without a pitch",
        ),
        (note("C", 0, first="<grace/>").replace("<duration>0</duration>", "") + note("D", 8), "bar 1: a note without"),
        (note("C", 8) + "<backup><duration>8</duration></backup>" + note("E", 8), "bar 1: two notes sound together"),
        ("<note><rest/><duration>8</duration></note>", "has no notes"),
        (note("C", 8, lyric("a|b")), "lyric: 'a|b'"),
    ],
)
def test_what_is_no_song_of_one_voice_is_refused(tmp_path, bar, told):
    with pytest.raises(InputError, match=told.replace("|", r"\|")):
        read_musicxml(saved(tmp_path / "a.musicxml", (FOUR + bar,)))


def test_a_song_is_read_as_it_sounds(tmp_path):
    lower = "<transpose><diatonic>-1</diatonic><chromatic>-2</chromatic></transpose>"
    part = (FOUR.replace("</attributes>", f"{lower}</attributes>") + note("C", 8), note("D", 8))
    assert [pitch for _, pitch, _ in flat(read_musicxml(saved(tmp_path / "a.musicxml", part)))] == [58, 60]


@pytest.mark.parametrize("first", [True, False])
def test_tempi_of_other_parts_hold_where_repeats_are_played(tmp_path, first):
    tempo = '<direction><direction-type/><sound tempo="60"/></direction>'
    silent = (FOUR + tempo + "<note><rest/><duration>8</duration></note>", "<note><rest/><duration>8</duration></note>")
    sung = (FOUR + note("C", 8) + '<barline location="right"><repeat direction="backward"/></barline>', note("D", 8))
    found = read_musicxml(saved(tmp_path / "a.musicxml", *((silent, sung) if first else (sung, silent))))
    assert flat(found) == [("", 60, 4.0), ("", 60, 4.0), ("", 62, 4.0)]


def test_a_tie_joins_neighbours_of_one_pitch_alone(tmp_path):
    start, stop = '<tie type="start"/>', '<tie type="stop"/>'
    rest = "<note><rest/><duration>4</duration></note>"
    back = '<barline location="right"><repeat direction="backward"/></barline>'
    for number, (bars, expected) in enumerate(
        (
            ((note("C", 8, start + lyric("a")), note("D", 8, stop + lyric("b"))), [("a", 60, 2.0), ("b", 62, 2.0)]),
            ((note("C", 4, start) + rest, note("C", 8, stop)), [("", 60, 1.0), ("", 60, 2.0)]),
            ((note("C", 8, start) + back, note("C", 8, stop)), [("", 60, 2.0), ("", 60, 4.0)]),
            ((note("C", 8, start), note("C", 8, stop + start), note("C", 8, stop)), [("", 60, 6.0)]),
        )
    ):
        first, *others = bars
        path = saved(tmp_path / f"{number}.musicxml", (FOUR + first, *others))
        assert flat(read_musicxml(path)) == expected, bars


def test_commas_and_elisions_in_lyrics(tmp_path):
    joined = (
        '<lyric number="1"><syllabic>end</syllabic><text>te</text><elision>_</elision><syllabic>begin</syllabic>'
        "<text>a</text></lyric>"
    )
    bars = (FOUR + note("C", 8, lyric("well,")), note("D", 8, joined), note("E", 8, lyric("mo", "end")))
    assert [text for text, *_ in flat(read_musicxml(saved(tmp_path / "a.musicxml", bars)))] == ["well", "te_a-", "mo"]


TEMPO = "<direction><direction-type><metronome>{}</metronome></direction-type></direction>"
BACK = '<barline location="right"><repeat direction="backward" times="{}"/></barline>'


@pytest.mark.parametrize(
    ("bar", "told"),
    [
        (TEMPO.format("<beat-unit>quarter</beat-unit><per-minute>c. 60</per-minute>") + note("C", 8), "bar 1: a tempo"),
        ('<direction><direction-type/><sound tempo="-60"/></direction>' + note("C", 8), "bar 1: a tempo without"),
        (note("C", 8) + BACK.format(1_000_000), "a repeat of more than 32 times"),
        (note("C", -8), "bar 1: a note without length"),
        ("<attributes><divisions>0</divisions></attributes>" + note("C", 8), "is no MusicXML file that can be read"),
        (note("C", 8).replace(">8<", ">inf<"), "is no MusicXML file that can be read"),
        (
            "<attributes><staves>2</staves></attributes>"
            + note("C", 8, "<staff>1</staff>")
            + "<backup><duration>8</duration></backup>"
            + note("E", 8, "<staff>2</staff>"),
            "has two staves of them",
        ),
    ],
)
def test_notation_that_says_no_one_song_is_refused(tmp_path, bar, told):
    with pytest.raises(InputError, match=told):
        read_musicxml(saved(tmp_path / "a.musicxml", (FOUR + bar, note("D", 8))))


def test_archives_and_encodings_that_say_nothing_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "empty.mxl", "w"):
        pass
    (tmp_path / "klingon.musicxml").write_text('<?xml version="1.0" encoding="klingon"?><score-partwise/>')
    (tmp_path / "listless.musicxml").write_text(HEAD.format(parts="", content='<part id="P0"><measure/></part>'))
    for name in ("empty.mxl", "klingon.musicxml", "listless.musicxml"):
        with pytest.raises(InputError, match="is no MusicXML file that can be read|has no notes"):
            read_musicxml(tmp_path / name)


@pytest.mark.parametrize("content", ["", "words", "<html><body/></html>", "<score-partwise><part", "PK\x03\x04cut"])
@pytest.mark.parametrize("suffix", ["musicxml", "mxl"])
def test_files_that_are_no_musicxml_are_refused(tmp_path, content, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_text(content)
    with pytest.raises(InputError, match=rf"a\.{suffix}: "):
        read_musicxml(path)
    with pytest.raises(InputError, match="no such file"):
        read_musicxml(tmp_path / "b.musicxml")


def test_a_folder_may_hold_both_kinds(tmp_path):
    for number in range(12):
        if number % 2:
            write_musicxml(tune(Random(number)), tmp_path / f"{number}.musicxml")
        else:
            write_midi(tune(Random(number)), tmp_path / f"{number}.mid")
    learnt, held_out = songs_to_learn(str(tmp_path))
    assert len(learnt) + len(held_out) == 12


def test_without_music21_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "music21", None)
    with pytest.raises(InputError, match="pip install music21"):
        read_musicxml(tmp_path / "a.musicxml")
