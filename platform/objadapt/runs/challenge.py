"""The file that EPIC-KITCHENS-100's action recognition challenge asks for, of any split.

{"version": "0.2", "challenge": "action_recognition", "sls_pt": .., "sls_tl": .., "sls_td": ..,
 "results": {narration id: {"verb": {class: score}, "noun": {class: score}, "action": {"verb,noun": score}}}}

There is a score of each of the 97 verbs and 300 nouns, and of the 100 best actions. It is a probability; an action's is
the product of its verb's and its noun's. The challenge's server takes the file as `test.json` in a zip archive.
"""

import json
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from ..data.manifest import Manifest
from ..errors import InputError, naming
from ..evaluation.recognition import Scores, Seen

log = logging.getLogger(__name__)

ACTIONS = 100  # of a clip
DIGITS = 8  # that count, of a score


def write_challenge(path: Path, scores: Scores | Seen, manifest: Manifest, split: str, levels: dict[str, int]) -> int:
    """Write the file, clip by clip; -> how many there are. A warning names how many listed clips it lacks.

    Args:
        scores: of all clips of the split that could be used.
        levels: of supervision: `sls_pt` (pretraining), `sls_tl` (training labels), `sls_td` (training data).

    Raises:
        InputError: the file is there already.
        FullDisk: there is no room; nothing is left behind.
    """
    if path.exists():
        raise InputError(f"--challenge: {path} is there already; give another name, or remove it")
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    head = json.dumps({"version": "0.2", "challenge": "action_recognition", **levels})
    try:
        with naming(path):
            with open(part, "w") as file:
                file.write(f'{head[:-1]}, "results": {{')
                for number, (clip_id, result) in enumerate(_results(scores, manifest)):
                    file.write(f"{',' * (number > 0)}\n{json.dumps(clip_id)}: {json.dumps(result)}")
                file.write("\n}}\n")
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    listed, written = manifest.coverage[split]["listed"], len(scores.seen)
    if written < listed:
        missing = "%s: %d of %d listed clips have no prediction, and the challenge refuses a file that lacks a clip"
        log.warning(missing, path, listed - written, listed)
    return written


def _results(scores: Scores | Seen, manifest: Manifest) -> Iterator[tuple[str, dict[str, dict[str, float]]]]:
    """Narration id and scores of each clip, in the order of the manifest."""
    verbs, nouns = scores.probabilities["verb_label"], scores.probabilities["noun_label"]
    for place, row in enumerate(scores.seen["row"].tolist()):
        verb, noun = verbs[place], nouns[place]  # [97], [300]
        actions = (verb[:, None] * noun[None]).flatten()
        best = actions.argsort(descending=True, stable=True)[:ACTIONS]
        names = [f"{one // len(noun)},{one % len(noun)}" for one in best.tolist()]
        yield (
            manifest.table["clip_id"][row],
            {"verb": _by_class(verb), "noun": _by_class(noun), "action": _rounded(names, actions[best])},
        )


def _by_class(probabilities: Tensor) -> dict[str, float]:
    return _rounded([str(number) for number in range(len(probabilities))], probabilities)


def _rounded(names: list[str], values: Tensor) -> dict[str, float]:
    return {name: float(f"{value:.{DIGITS}g}") for name, value in zip(names, values.tolist(), strict=True)}
