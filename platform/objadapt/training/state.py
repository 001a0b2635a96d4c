"""Where a checkpoint's run stands, read from its `state.json` without its weights, and so without torch."""

from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..config import Experiment
from ..config_file import flat, validate
from ..errors import InputError
from ..run_folder import WEIGHTS
from ..stored_format import current_config, format_of, json_object, marks
from .exported import CONFIG, as_state, is_exported
from .exported import WEIGHTS as EXPORTED

COMPUTED = ("sampling.", "transform.", "backbone.", "method.")  # settings that decide what a checkpoint answers
PLACES = ("backbone.weights", "backbone.pretrained")  # of what `Encoder.weights_hash` tells apart


@dataclass
class State:
    """Where a run stands, and what its weights belong to."""

    config: dict  # Experiment.model_dump()
    classes: dict[str, list[str]]  # head -> class names
    joint_width: int
    backbone_hash: str
    epoch: int = 0  # epochs done
    step: int = 0  # steps done of the epoch after those
    global_step: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)  # running sums of an unfinished epoch
    best: dict = field(default_factory=dict)  # {"epoch", "top1"} of the best validation so far
    notices: dict = field(default_factory=dict)  # pipeline.quarantine.Notices so far


def read_state(folder: str | Path) -> State:
    """Read a checkpoint's state, of this format or an older one, or that of an exported model.

    Raises:
        InputError: no such folder, not a checkpoint, or one of a newer format.
    """
    exported, where = is_exported(folder), f"checkpoint {folder}"
    path = Path(folder) / (CONFIG if exported else "state.json")
    try:
        tree = json_object(path)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{where}: no state.json there; give the folder of a checkpoint (e.g. .../last)") from None
    except OSError as error:
        raise InputError(f"{where}: {path.name} cannot be read ({error.strerror or error})") from None
    damaged = InputError(f"{where}: {path.name} is damaged; use another checkpoint")
    if tree is None:
        raise damaged
    number = format_of(tree, where)
    try:
        tree = as_state(tree) if exported else tree
        state = State(**{name: value for name, value in tree.items() if name not in marks()})
        state.config = current_config(state.config, number)
        _check(state)
    except (TypeError, AttributeError, KeyError, ValueError):
        raise damaged from None
    return state


def changed(state: State, config: Experiment) -> dict[str, object]:
    """Settings by which a checkpoint answers otherwise than in its training: dotted key -> the value they have now."""
    then, now = (flat(one.model_dump(mode="json")) for one in (validate(state.config), config))
    looked_at = [key for key in now if key.startswith(COMPUTED) and key not in PLACES]
    return {key: now[key] for key in looked_at if then.get(key) != now[key]}


def changed_text(settings: dict[str, object]) -> str:
    """`changed` as overrides."""
    return " ".join(f"{key}={'null' if value is None else value}" for key, value in settings.items())


def check_weights(folder: str | Path) -> None:
    """What the head of a checkpoint's weights says, without torch and without reading them.

    Raises:
        InputError: no such file, or a damaged one.
    """
    path = Path(folder) / (EXPORTED if is_exported(folder) else WEIGHTS)
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (OSError, SafetensorError) as error:
        raise InputError(f"checkpoint {folder}: unreadable weights ({error}); use another checkpoint") from None


def _check(state: State) -> None:
    """ValueError for values that no training has written."""
    counts = (state.epoch, state.step, state.global_step, state.joint_width)
    names = [name for classes in state.classes.values() for name in classes]
    if not all(isinstance(classes, list) for classes in state.classes.values()):
        raise ValueError("classes")
    if not all(isinstance(name, str) for name in (*names, state.backbone_hash)):
        raise ValueError("names")
    if not all(type(count) is int and count >= 0 for count in counts):  # bool is an int, too
        raise ValueError("counts")
    if not all(isinstance(each, dict) for each in (state.metrics, state.sums, state.best, state.notices)):
        raise ValueError("mappings")
