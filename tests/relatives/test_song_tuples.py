"""The tuple format: bins, a strict grammar, alignment of lyrics and notes, MIDI, and a model of melodies."""

import math
import warnings
from random import Random

import mido
import numpy as np
import pytest
from PIL import Image

from objadapt.errors import InputError
from objadapt_relatives.interleaved_placement import learn as placement
from objadapt_relatives.song_tuples import bins, compose, sing
from objadapt_relatives.song_tuples.compose import songs_to_learn
from objadapt_relatives.song_tuples.midi import read_midi, write_midi
from objadapt_relatives.song_tuples.notes_picture import write_notes
from objadapt_relatives.song_tuples.sing import set_to_music, syllables_of
from objadapt_relatives.song_tuples.tunes import tune
from objadapt_relatives.song_tuples.tuples import (
    TOKENS,
    Note,
    Song,
    Syllable,
    melody_of,
    melody_tokens,
    ordinal,
    read,
    write,
)


def song(random: Random, kind: str = "pair") -> Song:
    """A random song; syllables are words, digits and signs in several alphabets, some of them melismas."""
    words = ("la", "o'er", "星", "née", "C4", "12", "The", "x y", "-")

    def syllable() -> Syllable:
        notes = [Note(random.randrange(128), random.uniform(0.02, 6)) for _ in range(random.choice((1, 1, 1, 2, 3)))]
        text = "" if kind == "melody" else random.choice(words)
        return Syllable(
            text, tuple(notes) * (kind != "lyrics"), random.choice((0.0, random.uniform(0.01, 3))) * (kind != "lyrics")
        )

    lines = [tuple(syllable() for _ in range(random.randint(1, 9))) for _ in range(random.randint(1, 25))]
    return Song(kind, tuple(lines))


def test_encoding_a_decoded_bin_returns_it_for_all_512():
    assert [bins.encode(bins.decode(number)) for number in range(512)] == list(range(512))
    seconds = [bins.decode(number) for number in range(512)]
    assert seconds == sorted(seconds) and math.isclose(seconds[0], -0.3) and math.isclose(seconds[-1], 6)
    assert bins.decode(79) == 0 and bins.encode(0) == 79


def test_errors_stay_below_5_ms_up_to_a_second():
    grid = [second / 10_000 for second in range(-3000, 10_001)]
    assert max(abs(bins.decode(bins.encode(second)) - second) for second in grid) < 0.005
    assert bins.encode(100) == 511 and bins.encode(-5) == 0
    for wrong in (math.nan, math.inf):
        with pytest.raises(ValueError, match="no duration"):
            bins.encode(wrong)
    for wrong in (-1, 512):
        with pytest.raises(ValueError, match="is not one of"):
            bins.decode(wrong)


def test_the_vocabulary():
    assert len(TOKENS) == len(set(TOKENS)) == 650 == 6 + 12 * 11 + 512
    assert {"<C-1>", "<B9>", "<C4>", "<0>", "<511>", "<bop>"} <= set(TOKENS)


def test_the_published_form():
    pair = Song(
        "pair",
        ((Syllable("star", (Note(60, bins.decode(137)),)),), (Syllable("ah", (Note(61, 0.3), Note(62, 0.4)), 0.5),)),
    )
    text = write(pair)
    assert text.startswith("<bop>The first line:star,<C4>,<137>,<79> The second line:ah,<C#4>,<D4>,<")
    assert text.endswith("><eop>") or text.endswith("<eop>")
    assert write(Song("lyrics", ((Syllable("one"), Syllable("two")),))) == "<bol>The first line:one|two<eol>"
    assert [
        ordinal(n) for n in (1, 12, 20, 21, 80, 99)
    ] == "first twelfth twentieth twenty-first eightieth ninety-ninth".split()
    assert len({ordinal(n) for n in range(1, 100)}) == 99


@pytest.mark.parametrize("kind", ["pair", "melody", "lyrics"])
def test_lyrics_and_notes_stay_aligned_in_a_thousand_random_songs(kind):
    random = Random(0)
    for _ in range(1000):
        one = song(random, kind)
        back = read(write(one))
        assert back == one.binned()
        assert [len(line) for line in back.lines] == [len(line) for line in one.lines]
        for line, again in zip(one.lines, back.lines, strict=True):
            assert [(s.text, [n.pitch for n in s.notes]) for s in line] == [
                (s.text, [n.pitch for n in s.notes]) for s in again
            ]
        assert write(back) == write(one)


def test_transposing_changes_pitches_alone():
    one = Song("pair", ((Syllable("a", (Note(60, 0.5), Note(64, 0.25)), 0.1),),))
    up = one.transposed(7)
    assert [note.pitch for note in up.lines[0][0].notes] == [67, 71] and up.transposed(-7) == one
    with pytest.raises(InputError, match="pitch: 128"):
        one.transposed(64)


GOOD = "<bop>The first line:la,<C4>,<137>,<79>|lo,<D4>,<140>,<79> The second line:x,<C4>,<E4>,<90>,<91>,<79><eop>"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("<bop>", "", "begins and ends with none"),
        ("<eop>", "<eom>", "begins and ends with none"),
        ("The first line:", "", "stands where"),
        ("The second line:", "The third line:", '"The third line:" stands where "The second line:"'),
        ("<79>|", "|", "line 1, tuple 1"),
        ("<C4>,<137>", "<137>,<C4>", "is not n pitches"),
        ("<C4>,<137>", "<H4>,<137>", "is not n pitches"),
        ("<C4>,<137>", "<G#9>,<137>", "pitch: 128"),
        ("<137>", "<512>", "is not n pitches"),
        ("<137>", "<0137>", "is not n pitches"),
        ("<137>", " <137>", "is not n pitches"),
        ("la,", ",", "has no lyric"),
        ("la,", "", "line 1, tuple 1"),
        ("<E4>,", "", "line 2, tuple 1"),
        ("<91>", "<eom>", "line 2, tuple 1"),
        ("|lo", "||lo", "line 1, tuple 2"),
        ("|lo", "| lo", "lyric"),
    ],
)
def test_every_departure_from_the_format_is_refused(old, new, said):
    assert write(read(GOOD)) == GOOD
    assert old in GOOD
    with pytest.raises(InputError, match=said):
        read(GOOD.replace(old, new, 1))


def test_no_song_is_made_that_could_not_be_read_back():
    for text in ("a,b", "a|b", "<C4>", " a", "a\nb", "The first line:"):
        with pytest.raises(InputError, match="lyric"):
            Syllable(text)
    for kind, one in (("pair", Syllable("a")), ("melody", Syllable("a", (Note(60, 1),))), ("lyrics", Syllable(""))):
        with pytest.raises(InputError, match="line 1, syllable 1"):
            Song(kind, ((one,),))
    with pytest.raises(InputError, match="line 1: is empty"):
        Song("pair", ((),))
    with pytest.raises(InputError, match="line 100"):
        write(Song("lyrics", ((Syllable("a"),),) * 100))


def test_melodies_as_tokens():
    random = Random(1)
    for _ in range(200):
        one = song(random, "melody")
        line = Song("melody", (tuple(s for line in one.lines for s in line),))
        assert melody_of(melody_tokens(one)) == line.binned()
    tokens = melody_tokens(line)
    for wrong in ([], tokens[:1], tokens[:-1], [tokens[0], *tokens[2:]], [tokens[0], tokens[-1]]):
        with pytest.raises(InputError):
            melody_of(wrong)


def test_midi_gives_back_what_was_written(tmp_path):
    random = Random(2)
    for number in range(60):
        one = song(random)
        write_midi(one, tmp_path / "song.mid")
        back = read_midi(tmp_path / "song.mid")
        assert back.kind == "pair", number
        for line, again in zip(one.lines, back.lines, strict=True):
            for sung, heard in zip(line, again, strict=True):
                assert (sung.text, [n.pitch for n in sung.notes]) == (heard.text, [n.pitch for n in heard.notes])
                assert all(abs(a.seconds - b.seconds) < 0.0021 for a, b in zip(sung.notes, heard.notes, strict=True))
        rests = [
            (s.rest, h.rest)
            for line, again in zip(one.lines, back.lines, strict=True)
            for s, h in zip(line, again, strict=True)
        ]
        assert all(abs(a - b) < 0.0021 for a, b in rests[:-1])  # behind the last note a file says nothing
    melody = tune(random)
    write_midi(melody, tmp_path / "tune.mid")
    again = read_midi(tmp_path / "tune.mid")
    assert again.kind == "melody" and len(again.lines[0]) == len(melody.lines[0])


def midi(path, *messages) -> None:
    file, track = mido.MidiFile(ticks_per_beat=1000), mido.MidiTrack()
    track.extend(messages)
    file.tracks.append(track)
    file.save(path)


def test_files_that_are_no_song_are_refused(tmp_path):
    path = tmp_path / "x.mid"
    with pytest.raises(InputError, match="no such file"):
        read_midi(path)
    for content in (b"", b"MThd", b"RIFF" + bytes(100), b"MThd\0\0\0\6\0\1\0\1\3\xe8MTrk\0\0\0\4\xff\xff\xff\xff"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="is no MIDI file|has no notes"):
            read_midi(path)
    on, off = (
        lambda note, time, kind=kind: mido.Message(kind, note=note, time=time, velocity=9)
        for kind in ("note_on", "note_off")
    )
    for messages, said in (
        ((), "has no notes"),
        ((on(60, 0), on(64, 10), off(60, 10), off(64, 10)), "two notes sound at"),
        ((on(60, 0),), "never ends"),
        ((mido.MetaMessage("lyrics", text="a"), on(60, 500), off(60, 10)), "stands at no note"),
        ((on(60, 0), off(60, 10), mido.MetaMessage("lyrics", text="a"), on(60, 0), off(60, 10)), "before any lyric"),
    ):
        midi(path, *messages)
        with pytest.raises(InputError, match=said):
            read_midi(path)
    with pytest.raises(InputError, match="have no notes"):
        write_midi(Song("lyrics", ((Syllable("a"),),)), path)


def test_notes_are_drawn_where_and_as_long_as_they_sound(tmp_path):
    """Two notes, the second twice as long and higher, after a rest: blue columns of the picture, left to right."""
    notes = Syllable("", (Note(60, 1.0),), 1.0), Syllable("", (Note(67, 2.0),))
    write_notes(Song("melody", (notes,)), tmp_path / "notes.png", "two")
    pixels = np.asarray(Image.open(tmp_path / "notes.png").convert("RGB")).astype(int)
    blue = (abs(pixels - [0x3B, 0x6E, 0xA5]) < 20).all(axis=2)
    rows = np.flatnonzero(blue.sum(axis=1) > 20)
    higher, lower = blue[rows[0]].nonzero()[0], blue[rows[-1]].nonzero()[0]
    assert len(higher) == pytest.approx(2 * len(lower), rel=0.03)
    assert higher[0] - lower[-1] == pytest.approx(len(lower), rel=0.05)


def test_signs_that_the_picture_s_font_lacks_are_told(tmp_path):
    sung = Song("pair", ((Syllable("twin", (Note(60, 0.5),), 0.1), Syllable("星星", (Note(62, 0.5),), 0.0)),))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert write_notes(sung, tmp_path / "song.png", "étude") == "星"


def test_what_songs_are_learnt_from_is_looked_at(tmp_path):
    for number in range(10):
        write_midi(tune(Random(number)), tmp_path / f"{number}.MID")
    assert sum(map(len, songs_to_learn(str(tmp_path)))) == 10
    (tmp_path / "0.MID").write_bytes((tmp_path / "0.MID").read_bytes()[:30])
    with pytest.raises(InputError, match=r"--melodies: .*0.MID: is no MIDI file that can be read \(\S.*\)"):
        songs_to_learn(str(tmp_path))
    with pytest.raises(InputError, match="--melodies: no folder .*nowhere"):
        songs_to_learn(str(tmp_path / "nowhere"))


def test_nothing_is_written_over_and_counts_are_numbers_that_torch_takes(tmp_path, monkeypatch):
    (tmp_path / "lyrics.txt").write_text("one two")
    (tmp_path / "song").mkdir()
    (tmp_path / "song" / "song.mid").write_text("mine")
    for command, words, message in (
        (sing.main, ["lyrics.txt", "--output", "song"], "--output: song is there already and not empty"),
        (sing.main, ["lyrics.txt", "--output", "new", "--seed", "99999999999999999999"], "--seed: 9999.* from 0 to"),
        (compose.main, ["--output", "song"], "--output: song is there already and not empty"),
        (compose.main, ["--output", "new", "--seed", "99999999999999999999"], "--seed: 9999.* from 0 to"),
        (placement.main, ["--output", "song"], "--output: song is there already and not empty"),
        (placement.main, ["--output", "new", "--seed", "99999999999999999999"], "--seed: 9999.* from 0 to"),
    ):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["command", *words])
        with pytest.raises(InputError, match=message):
            command()
    monkeypatch.setattr("sys.argv", ["command", "lyrics.txt", "--output", "new"])
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(InputError, match="--output: 'new' is relative"):
        sing.main()
    assert not (tmp_path / "new").exists() and (tmp_path / "song" / "song.mid").read_text() == "mine"


def test_a_model_knows_more_of_held_out_melodies_than_a_bigram():
    from objadapt.config import Training
    from objadapt_relatives.song_tuples.melody import bigram_perplexity, compose, learn, notes, perplexity

    random = Random(3)
    held_out, songs = ([tune(random) for _ in range(n)] for n in (60, 480))
    model = learn(songs, Training(epochs=5, batch_size=32, lr=4e-3, warmup_epochs=1), seed=0)
    ours, baseline = perplexity(model, held_out), bigram_perplexity(songs, held_out)
    print(f"perplexity {ours:.1f}, bigram {baseline:.1f}")
    assert ours < 0.8 * baseline < 650
    begun = melody_tokens(held_out[0])[:7]
    assert compose(model, begun, 40, seed=1) == compose(model, begun, 40, seed=1) != compose(model, begun, 40, seed=2)
    lines = [["Twin-", "kle", "twin-", "kle"], ["lit-", "tle", "star"]] * 5
    song = set_to_music(lines, melody_of(notes(model, 35, seed=1)))
    assert [[one.text for one in line] for line in song.lines] == lines
    sung = [one for line in song.lines for one in line]
    assert all(len(one.notes) == 1 and one.notes[0].seconds >= 0.09 and one.rest >= 0 for one in sung)
    assert read(write(song)) == song.binned() == song, "the model's times are the format's"
    assert set_to_music(lines, melody_of(notes(model, 35, seed=1))) == song
    assert set_to_music(lines, melody_of(notes(model, 35, seed=2))) != song


def test_syllables_of_lyrics(tmp_path):
    path = tmp_path / "lyrics.txt"
    path.write_text("Twin-kle, twin-kle\n\nlit-tle - star\n")
    assert syllables_of(path) == [["Twin-", "kle", "twin-", "kle"], ["lit-", "tle", "star"]]
    path.write_bytes("\ufeffhush,lit-tle ... ba\u00adby\t- ! \u2014 now\r\n".encode())
    assert syllables_of(path) == [["hush", "lit-", "tle...", "ba-", "by!\u2014", "now"]]
    for content, said in (
        (b"la\n" * 100, "line 100; a song has 1 to 99"),
        (b"\x1b[31mred", "do not print"),
        (b"\n  \n", "no words"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a <b> c", "line 1: lyric: '<b>'"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=said):
            syllables_of(path)
    with pytest.raises(InputError, match="No such file"):
        syllables_of(tmp_path / "gone.txt")
    priced = Song("pair", ((Syllable("ca$$h", (Note(60, 0.5),)),),))
    write_notes(priced, tmp_path / "song.png", "$a_$.txt")
    assert (tmp_path / "song.png").stat().st_size > 1000
