"""Give lyrics a melody: a note a syllable, as MIDI, as a picture of its notes and as text of the format.

    python -m objadapt_relatives.song_tuples.sing lyrics.txt --output outputs/song

`PYTHONPATH=platform` in a checkout. A line of the file is a line of the song; spaces and hyphens part its syllables:
`Twin-kle, twin-kle`. A comma is a space, for the format keeps it. The melody is a new one, of a model that learns
first, as `compose` does: two minutes on a core. It knows nothing of the words but how many syllables they have.
"""

import re
from pathlib import Path

from objadapt import job
from objadapt.errors import InputError
from objadapt.files import write_whole

from ..output_folder import make_new_folder
from ..whole_numbers import check_whole_numbers
from .compose import EPOCHS, songs_to_learn
from .midi import write_midi
from .musicxml import check_music21, write_musicxml
from .tuples import Song, Syllable, melody_of, ordinal, write


def main():
    options = job.parser(__doc__)
    options.add_argument("lyrics", help="text file, UTF-8")
    options.add_argument("--output", required=True, metavar="DIR", help="folder for song.mid, song.png and song.txt")
    options.add_argument(
        "--melodies", metavar="DIR", help="MIDI or MusicXML files to learn from (default: procedural tunes)"
    )
    options.add_argument("--epochs", type=int, default=EPOCHS)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--musicxml", action="store_true", help="write song.musicxml, too, for a notation program")
    job.add_json_option(options, "syllables, seconds and files")
    arguments = options.parse_args()
    check_whole_numbers(arguments, epochs=1, seed=0)
    lines = syllables_of(Path(arguments.lyrics))
    if arguments.musicxml:
        check_music21()
    folder = Path(arguments.output)
    make_new_folder("--output", folder)
    songs, _ = songs_to_learn(arguments.melodies)

    with job.stage("loading torch"):
        from .melody import learn, notes, settings
        from .notes_picture import write_notes

    with job.stage("learning melodies"):
        model = learn(songs, settings(arguments.epochs), arguments.seed)
    song = set_to_music(lines, melody_of(notes(model, sum(map(len, lines)), arguments.seed)))
    write_midi(song, folder / "song.mid")
    if lacking := write_notes(song, folder / "song.png", Path(arguments.lyrics).name):
        print(f"note: song.png lacks signs that its font does not have: {lacking}; song.mid and song.txt have them")
    write_whole(folder / "song.txt", write(song) + "\n")
    sung = [one for line in song.lines for one in line]
    seconds = sum(note.seconds for one in sung for note in one.notes) + sum(one.rest for one in sung)
    print(f"{len(sung)} syllables in {len(song.lines)} lines, {seconds:.0f} s: {folder / 'song.mid'}")
    files = ["song.mid", "song.png", "song.txt"]
    if arguments.musicxml:
        write_musicxml(song, folder / "song.musicxml")
        files.append("song.musicxml")
    job.write_json(
        arguments.json, {"syllables": len(sung), "lines": len(song.lines), "seconds": seconds, "files": files}
    )


def syllables_of(path: Path) -> list[list[str]]:
    """The lines of a text, each its syllables; one that ends with a hyphen goes on in the next.

    Signs without a letter or a digit go with the syllable before them.

    Raises:
        InputError: no such file, not UTF-8, no syllable, too many lines, signs that do not print or that the format
            keeps for itself.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InputError(f"lyrics: {path}: {reason}; give a text file") from None
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        found: list[str] = []
        for part in re.findall(r"[^\s-]+-?", line.replace(",", " ").replace("\u00ad", "-").replace("\t", " ")):
            if re.search(r"[^\W_]", part):
                found.append(part)
            elif found:
                found[-1] += part
        if strange := [part for part in found if not part.isprintable()]:
            raise InputError(
                f"lyrics: {path}, line {number}: {strange[0]!r} has signs that do not print; take them out"
            )
        try:
            lines.append([Syllable(part).text for part in found])
        except InputError as error:
            raise InputError(f"lyrics: {path}, line {number}: {error}") from None
    if not any(lines):
        raise InputError(f"lyrics: {path}: no words; write a line of the song in each line")
    sung = [line for line in lines if line]
    ordinal(len(sung))  # refuses more lines than a song has
    return sung


def set_to_music(lines: list[list[str]], melody: Song) -> Song:
    """Syllables on the notes of a melody of one line, one each, in their order."""
    notes = iter(melody.lines[0])
    return Song("pair", tuple(tuple(Syllable(text, *_of(next(notes))) for text in line) for line in lines))


def _of(one: Syllable) -> tuple:
    return one.notes, one.rest


if __name__ == "__main__":
    job.run(main)
