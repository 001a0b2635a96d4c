"""Files of anybody's masks, whole or with gaps, for each protocol by which they are scored (segmentation.py).

PREDICTIONS/<sequence>/NNNNN.png   indexed, ids 1 .. 20
PREDICTIONS/<sequence>/NNNNN.npz   `per_frame`: masks [P, H, W]
"""

from pathlib import Path

from ..data.davis import Sequence, sorted_files
from ..data.video_files import is_hidden
from ..errors import InputError

ID_PROTOCOLS = ("official", "official_semi_supervised")
PROTOCOLS = (*ID_PROTOCOLS, "per_frame")
MEASURES = ("J&F-Mean", "J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay")


def prediction_file(folder: Path, annotation: Path, protocol: str) -> Path:
    """Where the prediction for an annotated frame lies."""
    return folder / f"{annotation.stem}{'.npz' if protocol == 'per_frame' else '.png'}"


def scored_frames(sequence: Sequence, protocol: str) -> tuple[Path, ...]:
    """Annotations of the frames that count. The semi-supervised protocol leaves out the first and the last."""
    return sequence.annotations[1:-1] if protocol == "official_semi_supervised" else sequence.annotations


def refuse_gaps(sequences: list[Sequence], predictions: Path, protocol: str) -> list[str]:
    """Names in the folder of predictions that are not scored.

    Raises:
        InputError: no folder, a sequence without annotations or predictions, or a frame without its file.
    """
    if not predictions.is_dir():
        raise InputError(f"--predictions: no folder {predictions}; give one with a folder of masks for each sequence")
    folders = {path.name for path in predictions.iterdir() if path.is_dir() and not is_hidden(path.name)}
    ignored = folders - {sequence.name for sequence in sequences}
    for sequence in sequences:
        folder, frames = predictions / sequence.name, scored_frames(sequence, protocol)
        if not frames:
            annotated = f"{sequence.name} has {len(sequence.annotations)} annotated frames"
            raise InputError(f"--davis: {annotated}, none of which {protocol} scores; leave it out by --sequences")
        wanted = {prediction_file(folder, annotation, protocol) for annotation in sequence.annotations}
        for annotation in frames:
            path = prediction_file(folder, annotation, protocol)
            if not path.is_file():
                raise InputError(f"{path}: missing; {protocol} needs one mask file an annotated frame, named as it is")
        ignored |= {
            f"{path.parent.name}/{path.name}" for path in sorted_files(folder, path.suffix) if path not in wanted
        }
    return sorted(ignored)
