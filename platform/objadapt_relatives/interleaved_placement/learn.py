"""Learn where pictures belong and which, from articles made of captions of toy pictures; print what it is worth.

    python -m objadapt_relatives.interleaved_placement.learn --output outputs/placement
    python -m objadapt_relatives.interleaved_placement.learn --output outputs/placement --clip ViT-B-16-quickgelu \\
        --weights FILE

`PYTHONPATH=platform` in a checkout. A minute on one core with the small CLIP, whose vocabulary is that of the toy
captions. With a CLIP of open_clip it reads any words; what it learnt from are toy captions all the same.
"""

from pathlib import Path

from objadapt import job

from ..output_folder import make_new_folder
from ..whole_numbers import check_whole_numbers


def main():
    options = job.parser(__doc__)
    options.add_argument("--output", required=True, metavar="DIR", help="folder for what is learnt")
    options.add_argument("--clip", default="small_clip", metavar="NAME", help="or a model of open_clip")
    options.add_argument("--weights", metavar="FILE", help="of an open_clip model, text tower included")
    options.add_argument("--seed", type=int, default=0)
    job.add_json_option(options, "what was measured")
    arguments = options.parse_args()
    check_whole_numbers(arguments, seed=0)
    folder = Path(arguments.output)
    make_new_folder("--output", folder)

    with job.stage("loading torch"):
        from .articles import Articles, make_pool
        from .embedding import load_clip
        from .learning import learn, measure, save

        clip = load_clip(arguments.clip, arguments.weights)
    with job.stage("rendering and embedding"):
        learnt, held_out = make_pool(clip, 2 * arguments.seed), make_pool(clip, 2 * arguments.seed + 1)
    with job.stage("learning"):
        placement = learn(clip, Articles(learnt, arguments.seed), arguments.seed)
    found = measure(placement, Articles(held_out, arguments.seed))
    save(placement, folder, found)
    print("toy articles, of pictures and captions that nothing was learnt from:")
    print("\n".join(f"  {name:<18} {100 * value:.1f} %" for name, value in found.items()))
    print(f"folder  {folder}")
    job.write_json(arguments.json, found)


if __name__ == "__main__":
    job.run(main)
