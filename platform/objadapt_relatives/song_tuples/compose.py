"""Learn procedural tunes, compare with a bigram baseline on held-out ones, and write tunes as MIDI and PNG.

    python -m objadapt_relatives.song_tuples.compose --output outputs/songs

`PYTHONPATH=platform` in a checkout. With --melodies DIR it learns from the MIDI or MusicXML files there: every
tenth is held out.
"""

import sys
from pathlib import Path
from random import Random

from objadapt import job
from objadapt.errors import InputError

from ..output_folder import make_new_folder
from ..whole_numbers import check_whole_numbers
from .midi import SUFFIXES as MIDI
from .midi import read_midi, write_midi
from .musicxml import SUFFIXES as MUSICXML
from .musicxml import read_musicxml
from .tunes import tune
from .tuples import Song, melody_of, melody_tokens

FEWEST = 10  # melodies of a folder
TUNES, HELD_OUT, LONGEST, EPOCHS = 2000, 200, 256, 12


def main():
    options = job.parser(__doc__)
    options.add_argument(
        "--output", required=True, metavar="DIR", help="folder for the composed MIDI files and pictures"
    )
    options.add_argument(
        "--melodies", metavar="DIR", help="MIDI or MusicXML files to learn from (default: procedural tunes)"
    )
    options.add_argument("--epochs", type=int, default=EPOCHS)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--number", type=int, default=4, metavar="N", help="tunes to compose")
    job.add_json_option(options, "perplexities and files")
    arguments = options.parse_args()
    check_whole_numbers(arguments, epochs=1, number=1, seed=0)
    make_new_folder("--output", Path(arguments.output))
    songs, held_out = songs_to_learn(arguments.melodies)

    from .melody import bigram_perplexity, compose, learn, perplexity, settings
    from .notes_picture import write_notes

    model = learn(songs, settings(arguments.epochs), arguments.seed)
    found = {"perplexity": perplexity(model, held_out), "bigram_perplexity": bigram_perplexity(songs, held_out)}
    folder, files, broken = Path(arguments.output), [], 0
    for number in range(arguments.number):
        tokens = compose(model, melody_tokens(held_out[number % len(held_out)])[:7], LONGEST, arguments.seed + number)
        try:
            song = melody_of(tokens)
            write_midi(song, folder / f"{number:03d}.mid")
            write_notes(song, folder / f"{number:03d}.png", f"{number:03d}: seven tokens given, the rest composed")
            files += [f"{number:03d}.mid", f"{number:03d}.png"]
        except InputError:
            broken += 1
    found |= {"composed": arguments.number - broken, "not_in_the_format": broken}
    print(
        "\n".join(
            f"{name:<20} {f'{value:.2f}' if isinstance(value, float) else value}" for name, value in found.items()
        )
    )
    print(f"{'folder':<20} {folder}")
    job.write_json(arguments.json, found | {"files": files})
    if not files:
        print("no tune keeps the format; learn longer (--epochs), or from more melodies", file=sys.stderr)
        sys.exit(1)


def songs_to_learn(folder: str | None) -> tuple[list[Song], list[Song]]:
    """Melodies to learn from and held-out ones: of a folder of MIDI or MusicXML files, or procedural ones.

    Raises:
        InputError: fewer than 10 files, or one that is no song of one voice, or too long.
    """
    if folder is None:
        random = Random(7)
        tunes = [tune(random) for _ in range(TUNES + HELD_OUT)]
        return tunes[HELD_OUT:], tunes[:HELD_OUT]
    if not Path(folder).is_dir():
        raise InputError(f"--melodies: no folder {folder}; give one with MIDI or MusicXML files")
    files = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in MIDI + MUSICXML)
    if len(files) < FEWEST:
        raise InputError(f"--melodies: {folder} has {len(files)} MIDI or MusicXML files; give at least {FEWEST}")
    try:
        songs = [read_musicxml(path) if path.suffix.lower() in MUSICXML else read_midi(path) for path in files]
    except InputError as error:
        raise InputError(f"--melodies: {error}, or take it out of the folder") from None
    if long := [path for path, song in zip(files, songs, strict=True) if len(melody_tokens(song)) > LONGEST]:
        raise InputError(f"--melodies: {long[0]} is longer than {LONGEST} tokens; cut it")
    kept = list({tuple(melody_tokens(song)): song for song in songs}.values())
    if len(kept) < len(songs):  # else a held-out melody may be one that was learnt
        print(f"{len(songs) - len(kept)} of {len(songs)} melodies are copies of another, left out", file=sys.stderr)
    if len(kept) < FEWEST:
        raise InputError(f"--melodies: {folder} has {len(kept)} melodies that differ; give at least {FEWEST}")
    return [song for n, song in enumerate(kept) if n % 10], kept[::10]


if __name__ == "__main__":
    job.run(main)
