"""MIDI files of others: several tracks and tempi, times that are no beats, notes without length, copies."""

from random import Random

import mido
import pytest

from objadapt.errors import InputError
from objadapt_relatives.song_tuples.compose import songs_to_learn
from objadapt_relatives.song_tuples.midi import read_midi, write_midi
from objadapt_relatives.song_tuples.tunes import tune


def notes(*pitches: int, channel: int = 0, rest: int = 0, lasts: int = 480) -> mido.MidiTrack:
    """One note behind the other, behind a rest; times in ticks."""
    track = mido.MidiTrack()
    for place, pitch in enumerate(pitches):
        track.append(mido.Message("note_on", note=pitch, channel=channel, time=0 if place else rest))
        track.append(mido.Message("note_off", note=pitch, channel=channel, time=lasts))
    return track


def saved(path, *tracks: mido.MidiTrack, beat: int = 480, kind: int = 1):
    file = mido.MidiFile(ticks_per_beat=beat, type=kind)
    file.tracks.extend(tracks)
    file.save(path)
    return path


def sung(path) -> list[tuple[int, float]]:
    return [(note.pitch, note.seconds) for line in read_midi(path).lines for one in line for note in one.notes]


@pytest.mark.parametrize("channel", [0, 1])
def test_the_melody_is_the_first_track_s_whichever_sounds_first(tmp_path, channel):
    tracks = notes(72, 74, rest=480), notes(40, 41, channel=channel)
    assert [pitch for pitch, _ in sung(saved(tmp_path / "a.mid", *tracks))] == [72, 74]
    in_turn = notes(72), notes(40, channel=channel, rest=480)
    assert [pitch for pitch, _ in sung(saved(tmp_path / "b.mid", *in_turn))] == [72]


def test_tempi_of_another_track_are_those_of_the_melody(tmp_path):
    tempi = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=1_000_000)])
    tempi.append(mido.MetaMessage("set_tempo", tempo=250_000, time=720))  # in the middle of the second note
    found = sung(saved(tmp_path / "a.mid", tempi, notes(60, 62, 64)))
    assert found == [(60, pytest.approx(1)), (62, pytest.approx(0.5 + 0.125)), (64, pytest.approx(0.25))]
    assert sung(saved(tmp_path / "b.mid", notes(60))) == [(60, pytest.approx(0.5))], (
        "without a tempo it is 120 a minute"
    )


def test_times_that_are_no_beats_of_one_song_are_refused(tmp_path):
    path = saved(tmp_path / "a.mid", notes(72, 74, lasts=40))
    content = bytearray(path.read_bytes())
    content[12:14] = b"\xe7\x28"  # SMPTE: 25 frames of 40 ticks a second
    path.write_bytes(bytes(content))
    for one in (path, saved(tmp_path / "b.mid", notes(60), notes(62), kind=2)):
        with pytest.raises(InputError, match=r"no beats of one song \(type 2, or SMPTE\)"):
            read_midi(one)


def test_a_note_without_length_is_named(tmp_path):
    track = mido.MidiTrack([mido.MetaMessage("lyrics", text="la"), *notes(72, lasts=0), *notes(74)])
    with pytest.raises(InputError, match=r"two notes begin at 0\.000 s"):
        read_midi(saved(tmp_path / "a.mid", track))


def test_copies_of_a_melody_are_not_both_learnt_and_held_out(tmp_path, capsys):
    for number in range(12):
        write_midi(tune(Random(max(2, number))), tmp_path / f"{number:02d}.mid")  # the first three are one tune
    learnt, held_out = songs_to_learn(str(tmp_path))
    assert len(learnt) + len(held_out) == 10 and not any(one in learnt for one in held_out)
    assert "2 of 12 melodies are copies of another, left out" in capsys.readouterr().err
    write_midi(tune(Random(2)), tmp_path / "11.mid")
    with pytest.raises(InputError, match="has 9 melodies that differ; give at least 10"):
        songs_to_learn(str(tmp_path))
