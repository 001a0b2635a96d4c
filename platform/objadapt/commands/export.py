"""Make a trained checkpoint a folder to share: weights, config and model card, laid out as on the Hugging Face hub.

    python jobs/export.py --checkpoint mine --output exported/mine
    python jobs/export.py --checkpoint outputs/demo/runs/full --output exported/demo --whole
    python jobs/predict.py --checkpoint exported/mine video.mp4 backbone.weights=FILE

model.safetensors holds what learned alone; config.json names the backbone with the sha256 of its weights, and method,
classes, sampling and transform. --whole adds model.pt2, backbone and all, which torch.export.load reads without
objadapt. Such a folder is a checkpoint to predict, evaluate and segment.
"""

from pathlib import Path

from .. import job
from ..config_file import override, validate
from ..errors import InputError
from ..inputs import check_model, check_output
from ..runs.names import checkpoint_given
from ..training.state import check_weights, read_state


def main():
    options = job.parser(__doc__)
    job.add_checkpoint(options)
    options.add_argument("--output", required=True, metavar="FOLDER", help="a new folder")
    options.add_argument(
        "--whole", action="store_true", help="also model.pt2: crops in, logits out, checked against the model"
    )
    options.add_argument(
        "--onnx",
        action="store_true",
        help="also model.onnx, checked in onnxruntime; needs onnx, onnxscript, onnxruntime",
    )
    job.add_overrides(options, "changes to the checkpoint's config, e.g. backbone.weights=FILE")
    arguments = options.parse_intermixed_args()
    job.take_checkpoint(arguments, arguments.overrides)
    job.refuse_relative("--output", arguments.output)
    job.check_overrides(arguments.overrides)
    checkpoint = checkpoint_given(arguments.checkpoint, arguments.overrides)
    state, folder = read_state(checkpoint), Path(arguments.output)
    config = validate(override(state.config, arguments.overrides), source=f"checkpoint {checkpoint}")
    if not config.method.classifies:
        raise InputError(f"checkpoint {checkpoint}: {config.method.name} gives no classes; what is exported classifies")
    check_model(config)
    check_output(arguments.output, "--output")
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"--output: {folder} is there already and not empty; give a new folder")
    check_weights(checkpoint)

    with job.stage("loading torch"):
        from ..export.hub import export

    for file in export(checkpoint, folder.absolute(), arguments.overrides, arguments.whole, arguments.onnx):
        print(f"{file.stat().st_size / 1e3:>12,.1f} kB  {job.shown_path(file)}")
