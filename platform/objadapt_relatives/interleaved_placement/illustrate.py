"""Put pictures into an article: where they belong and which, as a page of HTML.

    python -m objadapt_relatives.interleaved_placement.illustrate article.md --placement outputs/placement \\
        --pictures DIR --output outputs/article
    python -m objadapt_relatives.interleaved_placement.illustrate article.md --placement outputs/placement \\
        --video video.mp4 --every 2 --output outputs/article

`PYTHONPATH=platform` in a checkout. `--placement` is what `learn` made. Only paragraphs are illustrated; a picture is
used once. Raw HTML in the article is shown as text.
"""

import math
from pathlib import Path

from objadapt import job
from objadapt.errors import InputError
from objadapt.files import write_whole

from ..output_folder import make_folder, make_new_folder
from .document import Document

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")  # what browsers show


def main():
    options = job.parser(__doc__)
    options.add_argument("article", help="Markdown file, UTF-8")
    options.add_argument("--placement", required=True, metavar="DIR", help="what `learn` made")
    options.add_argument("--pictures", metavar="DIR", help="folder of pictures to choose from")
    options.add_argument("--video", metavar="FILE", help="or a video, whose frames are chosen from")
    options.add_argument("--every", type=float, default=1.0, metavar="S", help="seconds between two frames")
    options.add_argument("--weights", metavar="FILE", help="of the open_clip model that `learn` had")
    options.add_argument("--output", required=True, metavar="DIR", help="folder for the article and its pictures")
    job.add_json_option(options, "which picture stands behind which sentence")
    arguments = options.parse_args()
    article, folder = Path(arguments.article), Path(arguments.output)
    document = Document.read(article)
    if bool(arguments.pictures) == bool(arguments.video):
        raise InputError("--pictures, --video: give one of both")
    if not 0 < arguments.every < math.inf:
        raise InputError(f"--every: {arguments.every} must be a number of seconds above 0")
    files = _files(Path(arguments.pictures)) if arguments.pictures else []
    if arguments.video and not Path(arguments.video).is_file():
        raise InputError(f"--video: {arguments.video}: no such file")
    if arguments.pictures and Path(arguments.pictures).resolve() == (folder / "pictures").resolve():
        raise InputError(f"--output: {folder}: the chosen pictures would be written among those of --pictures")
    make_new_folder("--output", folder)

    with job.stage("loading torch"):
        from .embedding import SMALL, load_clip
        from .learning import load
        from .placing import place_pictures
        from .pool import OfFiles, OfVideo

        placement = load(Path(arguments.placement))
        if placement.clip == SMALL and arguments.weights:
            raise InputError(f"--weights: {arguments.placement} was learnt with the small CLIP, which has its own")
        clip = load_clip(placement.clip, arguments.weights)
        if clip.weights_hash != placement.weights_hash:
            raise InputError(f"--weights: they are not those that {arguments.placement} was learnt with; give those")
    pool = OfFiles(files) if files else OfVideo(arguments.video, arguments.every)
    try:
        sentences = clip.sentences([one.plain for one in document.sentences])
    except ValueError as error:
        raise InputError(f"{arguments.article}: {error}; `learn` with an open_clip model for other words") from None
    with job.stage("looking at pictures"):
        embedded = pool.embedded(clip)
    placed = place_pictures(sentences, embedded, placement.spotter, placement.chooser)
    names = {
        sentence: f"pictures/{number:02d}{pool.suffix(one)}" for number, (sentence, one) in enumerate(placed.items(), 1)
    }
    make_folder("--output", folder / "pictures")  # now: a folder that a refusal left must be empty
    for sentence, one in placed.items():
        pool.write(one, folder / names[sentence])
    write_whole(folder / "article.html", document.page(names, article.stem, article.parent, folder))
    for sentence, one in placed.items():
        print(f"{pool.name(one)}: behind {document.sentences[sentence].plain!r}")
    print(f"{len(placed)} of {len(embedded)} pictures behind {len(sentences)} sentences: {folder / 'article.html'}")
    told = [{"sentence": document.sentences[n].plain, "picture": pool.name(one)} for n, one in placed.items()]
    job.write_json(arguments.json, told)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"--pictures: no folder {folder}; give one with pictures")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise InputError(f"--pictures: {folder} has no picture ({', '.join(SUFFIXES)}); give a folder with some")
    return files


if __name__ == "__main__":
    job.run(main)
