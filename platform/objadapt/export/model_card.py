"""The model card of an exported model, written from its run: what it is, what it scored, what it cost."""

from pathlib import Path

import yaml

from ..data.toy_scenes import is_toy
from ..run_folder import BEST, SUMMARY
from ..stored_format import json_object
from ..training.exported import CONFIG, WEIGHTS
from ..training.state import State, changed_text

TOY = "Object Actions (toy data)"
SCORES = {"top1": "top-1 accuracy", "top5": "top-5 accuracy", "mean_class_accuracy": "mean class accuracy"}
SCORES |= {f"{part}_top1": f"top-1 accuracy of {part}s" for part in ("action", "verb", "noun")}
GFLOPS = "adapter_gflops"
CLASSES_SHOWN = 40


def model_card(checkpoint: Path, state: State, config: dict, changed: dict[str, object]) -> str:
    """Markdown with the front matter of the Hugging Face hub.

    Args:
        config: what `config.json` holds.
        changed: settings that are not those of the training. With any, no score of the run is this model's.

    Numbers are those of the run's summary; of a checkpoint elsewhere, those that it carries itself.
    """
    summary = summary_of(checkpoint)
    name, data = state.config.get("name", "objadapt"), data_set(state)
    scores, split = {} if changed else scores_of(checkpoint, state, summary), "validation"
    front = {
        "license": "unknown",
        "library_name": "objadapt",
        "pipeline_tag": "video-classification",
        "tags": ["objadapt", "video-classification", config["method"]["name"].replace("_", "-")],
        "metrics": ["accuracy"],
    }
    if scores:
        metrics = [{"type": "accuracy", "name": SCORES[key], "value": round(value, 4)} for key, value in scores.items()]
        result = {
            "task": {"type": "video-classification"},
            "dataset": {"name": data, "type": data.split(" (")[0].lower().replace(" ", "-"), "split": split},
            "metrics": metrics,
        }
        front["model-index"] = [{"name": name, "results": [result]}]
    parts = [
        f"# {name}",
        _what(config, data),
        "## Results",
        _results(checkpoint, scores, summary, data, changed),
        "## Training and cost",
        _cost(state, {key: value for key, value in summary.items() if not (changed and key == GFLOPS)}),
        "## Backbone",
        _backbone(config["backbone"]),
        "## Use",
        _use(config),
        "## Classes",
        "\n".join(_classes(config["classes"])),
        "## Licence",
        "The licence of these weights is not known: it depends on the training videos and on the backbone's weights."
        " Who publishes them says it here and in `license` above.",
    ]
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n\n" + "\n\n".join(parts) + "\n"


def summary_of(checkpoint: Path) -> dict:
    """The summary of the run that a checkpoint lies in; {} where there is none."""
    try:
        return json_object(checkpoint.absolute().parent / SUMMARY) or {}
    except OSError:
        return {}


def data_set(state: State) -> str:
    """What the training data are called: their folder's name; the toy data by their classes."""
    if is_toy(state.classes):
        return TOY
    return Path(state.config.get("data", {}).get("root") or "").name or "unknown data"


def scores_of(checkpoint: Path, state: State, summary: dict) -> dict[str, float]:
    """Accuracies on the validation clips by the names of `SCORES`; those of another checkpoint are left out."""
    if checkpoint.name == BEST and summary:
        best = summary.get("best") or {}
        return {"top1": best["top1"]} if best.get("epoch") == state.epoch and "top1" in best else {}
    own = {key.removeprefix("val/"): value for key, value in state.metrics.items() if key.startswith("val/")}
    found = own | {key: summary[key] for key in SCORES if key in summary}
    return {key: found[key] for key in SCORES if isinstance(found.get(key), int | float) and found[key] == found[key]}


def _what(config: dict, data: str) -> str:
    heads = " and ".join(
        f"{number} {head.removesuffix('_label').replace('label', 'action')} classes"
        for head, number in config["heads"].items()
    )
    sampling = config["sampling"]
    frames = f"{sampling['frames']} frames a clip ({sampling['mode']})"
    return (
        f"A video classifier made with objadapt {config['objadapt']}: the method `{config['method']['name']}` on a"
        f" frozen image backbone, trained on {data}. {heads}; {frames}. `{WEIGHTS}` holds what learned alone. The"
        f" backbone is only named, in `{CONFIG}`."
    )


def _results(checkpoint: Path, scores: dict[str, float], summary: dict, data: str, changed: dict[str, object]) -> str:
    if changed:
        return f"None is known of this model: its training had other settings than `{changed_text(changed)}`."
    if not scores:
        return "None is known: the checkpoint was not in its run's folder, or was not validated."
    clips = summary.get("num_val_clips")
    rows = [f"| {SCORES[key]} | {100 * value:.1f} % |" for key, value in scores.items()]
    if isinstance(summary.get("chance"), float):
        rows.append(f"| chance | {100 * summary['chance']:.1f} % |")
    said = [f"On {f'the {clips}' if clips else 'the'} validation clips of {data}, of one training (one seed):"]
    table = "\n".join(["| | |", "| --- | --- |", *rows])
    notes = []
    if "views" in summary:
        notes.append(f"Views (frames x clips x crops): {summary['views']}.")
    if data == TOY:
        notes.append("These are toy numbers: they show that the parts work, not how well.")
    if checkpoint.name == BEST:
        notes.append("The checkpoint was chosen as the best of several on these same clips, so the number is too high.")
    return "\n\n".join([*said, table, *([" ".join(notes)] if notes else [])])


def _cost(state: State, summary: dict) -> str:
    training = state.config.get("training", {})
    rows = {
        "training clips": summary.get("num_train_clips"),
        "epochs": state.epoch or None,
        "batch size": training.get("batch_size"),
        "optimiser": training.get("optimiser"),
        "learning rate": training.get("lr"),
        "seed": state.config.get("seed"),
        "parameters that learned": _thousands(summary.get("tunable_parameters")),
        "GFLOPs of what learned, a clip (2 x MAC)": _rounded(summary.get(GFLOPS)),
        "seconds of training": summary.get("seconds"),
        "device hours": summary.get("device_hours"),
        "devices": summary.get("devices"),
        "clips that could not be read": summary.get("quarantined"),
        "run": summary.get("identity"),
        "code": summary.get("code_version"),
    }
    said = [f"| {name} | {value} |" for name, value in rows.items() if value is not None]
    return "\n".join(["| | |", "| --- | --- |", *said]) if said else "Not known."


def _thousands(value: object) -> str | None:
    return f"{value:,}" if isinstance(value, int) else None


def _rounded(value: object) -> str | None:
    return f"{value:.3g}" if isinstance(value, float) else None


def _backbone(backbone: dict) -> str:
    lines = [f"`{backbone['name']}` of {backbone['library']}, frozen."]
    if backbone["library"] == "small_clip":
        lines = ["The small CLIP that ships with objadapt, frozen."]
    if backbone["pretrained"]:
        lines.append(f"Pretrained weights: `{backbone['pretrained']}`, which the library downloads.")
    if backbone["weights"]:
        lines.append(f"Weights file: `{backbone['weights']}`.")
    if backbone["sha256"]:
        lines.append(f"Its sha256: `{backbone['sha256']}`.")
    lines.append(f"objadapt's hash of its tensors, which is checked on loading: `{backbone['hash']}`.")
    return "\n".join(lines)


def _use(config: dict) -> str:
    given = f" backbone.weights={config['backbone']['weights']}" if config["backbone"]["weights"] else ""
    extra = f', ["{given.strip()}"]' if given else ""
    return (
        f"    objadapt predict --checkpoint FOLDER video.mp4{given}\n\n"
        "Or in Python:\n\n"
        "    from objadapt import load\n\n"
        f'    model = load("FOLDER"{extra})\n'
        f"    output = model(frames)  # uint8 [B, T = {config['sampling']['frames']}, H, W, 3], RGB"
    )


def _classes(classes: dict[str, list[str]]) -> list[str]:
    lines = []
    for head, names in classes.items():
        more = f", and {len(names) - CLASSES_SHOWN} more in `{CONFIG}`" if len(names) > CLASSES_SHOWN else ""
        lines.append(f"{head}: {', '.join(names[:CLASSES_SHOWN])}{more}.")
    return lines
