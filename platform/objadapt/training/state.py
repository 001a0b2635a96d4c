"""Where a checkpoint's run stands, read from its `state.json` without its weights, and so without torch."""

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from ..stored_format import current_config, format_of, json_object, marks


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
    """Read a checkpoint's state, of this format or an older one.

    Raises:
        InputError: no such folder, not a checkpoint, or one of a newer format.
    """
    path, where = Path(folder) / "state.json", f"checkpoint {folder}"
    try:
        tree = json_object(path)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{where}: no state.json there; give the folder of a checkpoint (e.g. .../last)") from None
    except OSError as error:
        raise InputError(f"{where}: state.json cannot be read ({error.strerror or error})") from None
    damaged = InputError(f"{where}: state.json is damaged; use another checkpoint")
    if tree is None:
        raise damaged
    number = format_of(tree, where)
    try:
        state = State(**{name: value for name, value in tree.items() if name not in marks()})
        state.config = current_config(state.config, number)
    except (TypeError, AttributeError):
        raise damaged from None
    return state
