"""The config's content hash follows every field that changes what is computed, and nothing else.

YAML brings a config back.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from objadapt.config import Experiment
from objadapt.config_file import load_config, validate
from objadapt.errors import InputError


def leaves(tree: dict, prefix: str = "") -> dict[str, object]:
    result = {}
    for key, value in tree.items():
        result |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return result


# Another valid value of every field that changes what is computed; a field that is missing here fails the test below.
OTHER = {
    "seed": 1,
    "sampling.mode": "dense",
    "sampling.frames": 16,
    "sampling.stride": 4,
    "sampling.short_clips": "quarantine",
    "sampling.decoder": "pyav",
    "transform.size": 112,
    "transform.min_scale": 0.9,
    "transform.flip": True,
    "transform.randaugment": True,
    "transform.randaugment_magnitude": 9,
    "transform.random_erasing": 0.25,
    "backbone.library": "timm",
    "backbone.name": "x",
    "backbone.precision": "bfloat16",
    "backbone.features": "keys",
    "backbone.pruning": 8,
    "method.width": 256,
    "method.slots.number": "none",
    "method.slots.iterations": 2,
    "method.slots.mlp": True,
    "method.slots.implicit": False,
    "method.slots.centred": True,
    "method.slots.initialisation": "kmeans",
    "method.slots.gain": 8.0,
    "method.slots.learning_rate": 0.1,
    "method.dropout": 0.5,
    "method.token_dropout": 0.5,
    "method.cls_probe": 10.0,
    "method.object_interaction": False,
    "method.heads": 4,
    "method.ffn_ratio": 4.0,
    "method.temporal": "attention",
    "method.interval": "all",
    "method.readout": "max",
    "method.losses.classification": 0.5,
    "method.losses.label_smoothing": 0.1,
    "method.losses.distillation.weight": 0.0,
    "method.losses.distillation.slot_temperature": 0.2,
    "method.losses.distillation.contrast_temperature": 0.1,
    "method.losses.distillation.symmetric": True,
    "method.losses.temporal.weight": 0.0,
    "method.losses.temporal.margin": 0.5,
    "method.losses.temporal.margin_form": "hinge_negatives",
    "method.losses.temporal.num_positives": 2,
    "method.losses.temporal.num_negatives": 4,
    "method.losses.mask_overlap": 0.05,
    "training.epochs": 3,
    "training.batch_size": 32,
    "training.micro_batch": 8,
    "training.optimiser": "sgd",
    "training.momentum": 0.5,
    "training.lr": 2e-4,
    "training.min_lr": 0.0,
    "training.weight_decay": 0.0,
    "training.warmup_epochs": 1.0,
    "training.clip_norm": None,
    "training.clips_per_class": 4,
    "training.autocast": False,
    "training.class_balance": "loss",
    "training.class_balance_beta": 0.99,
    "training.mixup": 0.2,
    "training.cutmix": 1.0,
    "training.repeats": 2,
    "training.ema": 0.99,
}
LOOKS = {  # at what was trained; it is the same training
    "training.validate_every": 2,
    "evaluation.temporal_clips": 3,
    "evaluation.spatial_crops": 3,
    "evaluation.reverse": True,
}
PLACEMENT = {
    "name": "other",
    "output": "elsewhere",
    "stream.num_workers": 2,
    "stream.checkpoint_minutes": 1.0,
    "stream.trainer_cpus": 2.0,
    "stream.trainer_gpus": 1.0,
    "stream.encoders": 3,
    "stream.encoder_cpus": 1.0,
    "stream.encoder_gpus": 1.0,
    "stream.decode_cpus": 1.0,
    "stream.clips_per_task": 4,
    "stream.prefetch_batches": 0,
    "stream.download_cache": "elsewhere",
    "stream.download_gb": 1.0,
    "tracking.uri": "http://x",
    "tracking.experiment": "other",
}
FILES = {  # the manifest and the backbone have hashes of their own content
    "data.format": "csv",
    "data.root": "elsewhere",
    "data.train": "t.csv",
    "data.val": "v.csv",
    "data.labels": "l.json",
    "data.videos": "v",
    "data.path_column": "p",
    "data.test": "t.json",
    "data.split": 2,
    "data.label_column": "l",
    "data.split_column": "s",
    "data.fraction": 0.5,
    "data.holdout": 0.2,
    "backbone.pretrained": "openai",
    "backbone.weights": "w.pt",
}


def with_value(key: str, value: object, base: dict | None = None) -> Experiment:
    tree = Experiment().model_dump() if base is None else base
    node = tree
    *parents, last = key.split(".")
    for parent in parents:
        node = node[parent]
    node[last] = value
    return validate(tree)


def test_every_field_is_known_to_the_hash_tests():
    held = {"stream.hold", "stream.views", "stream.cache", "stream.storage", "training.patience"}
    assert set(leaves(Experiment().model_dump())) == set(OTHER) | set(LOOKS) | set(PLACEMENT) | set(FILES) | held | {
        "method.name"
    }


def test_with_patience_the_validations_decide_when_a_training_ends():
    patient = with_value("training.patience", 3, with_value("data.holdout", 0.2).model_dump())
    hashes = {patient.content_hash(), Experiment().content_hash()}
    hashes |= {with_value(key, value, patient.model_dump()).content_hash() for key, value in LOOKS.items()}
    assert len(hashes) == 2 + len(LOOKS)


def test_another_method_is_another_training():
    assert load_config(None, ["method.name=linear_probe"]).content_hash() != Experiment().content_hash()


@pytest.mark.parametrize("key", OTHER)
def test_the_hash_changes_with_what_is_computed(key):
    assert with_value(key, OTHER[key]).content_hash() != Experiment().content_hash()


@pytest.mark.parametrize("key, value", (LOOKS | PLACEMENT | FILES).items(), ids=LOOKS | PLACEMENT | FILES)
def test_the_hash_does_not_change_with_where_it_is_computed_where_files_are_or_how_it_is_looked_at(key, value):
    assert with_value(key, value) != Experiment()
    assert with_value(key, value).content_hash() == Experiment().content_hash()


def test_warm_ups_that_come_to_the_same_are_the_same_training():
    """Of two epochs one is warm-up at the most, however many are asked for."""

    def of(epochs, warmup):
        return load_config(None, [f"training.epochs={epochs}", f"training.warmup_epochs={warmup}"]).content_hash()

    assert of(2, 2) == of(2, 1) == of(2, 40) != of(2, 0.5) and of(30, 2) != of(30, 1)


def test_views_count_only_where_features_are_held():
    streamed, held = Experiment(), with_value("stream.hold", True)
    assert with_value("stream.views", 5).content_hash() == streamed.content_hash()  # a fresh view each epoch
    assert held.content_hash() != streamed.content_hash()
    assert with_value("stream.views", 5, held.model_dump()).content_hash() != held.content_hash()


def test_a_cache_counts_by_how_it_stores_features_and_not_by_where_it_is():
    streamed, cached = Experiment(), with_value("stream.cache", "caches")
    assert with_value("stream.storage", "int8").content_hash() == streamed.content_hash()
    assert cached.content_hash() != streamed.content_hash()
    assert cached.content_hash() != with_value("stream.hold", True).content_hash()
    assert with_value("stream.cache", "elsewhere").content_hash() == cached.content_hash()
    for key, value in (("stream.storage", "int8"), ("stream.views", 5)):
        assert with_value(key, value, cached.model_dump()).content_hash() != cached.content_hash()


subsets = st.dictionaries(st.sampled_from(sorted(OTHER)), st.none(), max_size=8).map(
    lambda keys: {
        key: OTHER[key] for key in keys if key not in ("method.interval", "method.temporal", "sampling.frames")
    }
)


def tree_of(chosen: dict) -> dict:
    """A config's tree with these values; some do not go together, and are not drawn."""
    tree = Experiment().model_dump()
    try:
        for key, value in chosen.items():
            tree = with_value(key, value, tree).model_dump()
    except InputError:
        reject()
    return tree


@settings(deadline=None)
@given(subsets)
def test_yaml_round_trip(chosen):
    config = validate(tree_of(chosen))
    again = validate(yaml.safe_load(config.to_yaml()))
    assert again == config and again.content_hash() == config.content_hash()


@settings(deadline=None)
@given(subsets, st.randoms())
def test_the_hash_ignores_the_order_of_keys(chosen, random):
    tree = tree_of(chosen)

    def shuffled(node):
        if not isinstance(node, dict):
            return node
        keys = list(node)
        random.shuffle(keys)
        return {key: shuffled(node[key]) for key in keys}

    assert validate(shuffled(tree)).content_hash() == validate(tree).content_hash()


def test_the_hash_is_the_same_in_another_process():
    code = "from objadapt.config_file import load_config; print(load_config(None, ['training.lr=3e-4']).content_hash())"
    for seed in ("0", "1"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1] / "platform")}
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert other.stdout.strip() == load_config(None, ["training.lr=3e-4"]).content_hash(), other.stderr


def test_written_values_equal_the_defaults():
    """`lr: 1e-4` in a file is the same experiment as leaving it out."""
    assert load_config(None, ["training.lr=1e-4", "training.warmup_epochs=2", "method.slots.number=8"]) == Experiment()
    whole, real = (load_config(None, [f"training.warmup_epochs={value}"]) for value in ("2", "2.0"))
    assert whole.content_hash() == real.content_hash()
