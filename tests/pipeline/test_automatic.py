"""What "auto" becomes on many clusters: all GPUs at work, the encoders first, what is set kept,
and everything finds its place.
"""

import math
import random

import pytest
import torch
import yaml

from objadapt.backbone import encoder as encoders
from objadapt.config_file import load_config
from objadapt.errors import InputError
from objadapt.pipeline import placement
from objadapt.pipeline.automatic import busy_gpus, gpus_of, place, place_encoders
from objadapt.pipeline.placement import Nodes, check_placement, lacking, starves
from objadapt.pipeline.placement_text import encoding_text, training_text
from objadapt.pipeline.precision import precise, precision
from objadapt.pipeline.side_by_side import gpus_each, side_by_side_text

CACHED, HELD = "stream.cache=features", "stream.hold=true"


def node(cpus: float, gpus: float, number: float = 1, gpu: str = "") -> Nodes:
    return Nodes("node", number, cpus, gpus, 0.0, gpu)


def placed(there: list[Nodes], *overrides: str) -> tuple:
    """(workers, GPUs of each, encoders, GPUs of each, precision)."""
    config = load_config(None, overrides)
    stream = place(config, there)
    return (
        stream.num_workers,
        stream.trainer_gpus,
        stream.encoders,
        stream.encoder_gpus,
        precision(config.backbone, stream, there),
    )


@pytest.mark.parametrize(
    ("there", "overrides", "expected"),
    [
        ([node(2, 0)], [], (1, 0, 1, 0, "float32")),
        ([node(8, 1)], [], (1, 0.5, 1, 0.5, "bfloat16")),  # one GPU serves both
        ([node(8, 2)], [], (1, 1, 1, 1, "bfloat16")),
        ([node(8, 4)], [], (1, 1, 3, 1, "bfloat16")),
        ([node(8, 1), node(8, 1)], [], (1, 1, 1, 1, "bfloat16")),
        ([node(16, 8)], [], (1, 1, 7, 1, "bfloat16")),
        ([node(0, 0), node(32, 0, 8), node(16, 1, 4)], [], (1, 1, 3, 1, "bfloat16")),  # cluster.yaml's
        ([node(2, 8)], [], (1, 1, 2, 1, "bfloat16")),  # CPUs for no more, with one decode task
        ([node(1, 4), node(8, 0)], [], (1, 1, 1, 1, "bfloat16")),  # a GPU is of no use where its node has no CPU left
        # one after the other: both have all GPUs
        ([node(8, 2)], [HELD], (2, 1, 2, 1, "bfloat16")),
        ([node(8, 2)], [CACHED], (2, 1, 2, 1, "bfloat16")),
        ([node(16, 8)], [CACHED, "training.batch_size=12"], (6, 1, 8, 1, "bfloat16")),  # batches are dealt evenly
        ([node(8, 0)], [CACHED], (1, 0, 8, 0, "float32")),
        # what is set is kept
        ([node(8, 2)], ["stream.encoders=2"], (1, 1, 2, 0.5, "bfloat16")),
        ([node(8, 1)], ["stream.encoders=2"], (1, 0.5, 2, 0.25, "bfloat16")),
        ([node(8, 4)], ["stream.trainer_gpus=0.2"], (1, 0.2, 4, 0.8, "bfloat16")),
        ([node(8, 4)], ["stream.encoders=4", "stream.encoder_gpus=0.8"], (1, 0.2, 4, 0.8, "bfloat16")),
        ([node(8, 2)], ["stream.trainer_gpus=0"], (1, 0, 2, 1, "bfloat16")),
        ([node(8, 2)], ["stream.encoder_gpus=0"], (1, 1, 1, 0, "float32")),
        ([node(8, 2)], ["stream.encoder_gpus=0.5"], (1, 1, 2, 0.5, "bfloat16")),
        # encoders first: two workers would need both
        (
            [node(8, 2)],
            ["stream.num_workers=2"],
            (2, 0, 2, 1, "bfloat16"),
        ),
        ([node(8, 4)], ["stream.num_workers=2"], (2, 1, 2, 1, "bfloat16")),
        ([node(8, 4)], ["stream.num_workers=1-4", "training.batch_size=24"], ("1-4", 0, 4, 1, "bfloat16")),
        ([node(8, 6)], ["stream.num_workers=1-4", "training.batch_size=24"], ("1-4", 1, 2, 1, "bfloat16")),
        # GPUs without bfloat16, by the names that Ray gives them
        *(
            ([node(8, 2, 1, name)], [], (1, 1, 1, 1, "float16"))
            for name in ("T4", "V100", "P100", "K80", "GeForce-RTX-2080-Ti")
        ),
        *(
            ([node(8, 2, 1, name)], [], (1, 1, 1, 1, "bfloat16"))
            for name in ("A100", "H100", "L4", "A10G", "RTX-A6000", "B200")
        ),
        ([node(8, 1, 1, "A100"), node(8, 1, 1, "T4")], [], (1, 1, 1, 1, "float16")),  # one precision for all
        ([node(8, 2)], ["backbone.precision=float32"], (1, 1, 1, 1, "float32")),
        ([node(8, 2)], ["backbone.precision=float16"], (1, 1, 1, 1, "float16")),
        ([node(8, 0)], ["backbone.precision=float16"], (1, 0, 1, 0, "float32")),
        ([node(8, 0)], ["backbone.precision=bfloat16"], (1, 0, 1, 0, "float32")),
    ],
)
def test_what_auto_becomes(there, overrides, expected):
    assert placed(there, *overrides) == expected


def test_a_training_in_this_process_leaves_all_gpus_to_the_encoders():
    workers, trainer_gpus, *rest = placed([node(8, 4)], "stream.num_workers=0")
    assert (workers, rest) == (0, [4, 1, "bfloat16"]) and trainer_gpus == float(torch.cuda.is_available())


def test_a_gpu_that_something_could_use_is_used_and_everything_finds_its_place():
    """0 to 8 GPUs on up to 5 nodes, with few CPUs or many, and any of the fields set."""
    rng = random.Random(0)
    used = 0
    for _ in range(400):
        there = [node(rng.choice((0, 1, 2, 4, 16)), rng.choice((0, 0, 1, 2, 8))) for _ in range(rng.randint(1, 5))]
        overrides = ["training.batch_size=24"]
        for option in (
            "stream.encoders=3",
            "stream.trainer_gpus=0.25",
            "stream.num_workers=2",
            "stream.encoder_cpus=1",
            HELD,
            CACHED,
            "stream.num_workers=1-2",
        ):
            if rng.random() < 0.2 and option.split("=")[0] not in [one.split("=")[0] for one in overrides]:
                overrides.append(option)
        if any("trainer_gpus" in one for one in overrides):  # several workers need whole GPUs, as the config says
            overrides = [one for one in overrides if "num_workers" not in one]
        config = load_config(None, overrides)
        stream = place(config, there)
        assert "auto" not in (stream.num_workers, stream.trainer_gpus, stream.encoders, stream.encoder_gpus)
        for name in ("encoders", "trainer_gpus", "num_workers"):
            assert getattr(config.stream, name) in ("auto", getattr(stream, name))
        least, most = stream.worker_range
        apart = config.stream.hold or config.stream.cache
        most = most if stream.trainer_gpus and not apart else least
        phases = [(0, stream.encoders), (least, 0, 0)] if apart else [(most, stream.encoders)]
        problems = [lacking(placement.placement(stream, *phase), there) for phase in phases]
        nothing = config.model_copy(
            update={"stream": config.stream.model_copy(update={"encoder_gpus": 0.0, "trainer_gpus": 0.0})}
        )
        if any(problems):  # then it would not fit without GPUs either: what asks for too much is named, and never waits
            asked = config.stream.trainer_gpus
            without = place(nothing, there).model_copy(update={"trainer_gpus": 0.0 if asked == "auto" else asked})
            assert any(lacking(placement.placement(without, *phase), there) for phase in phases), (there, overrides)
        elif not apart and config.stream.encoders == config.stream.num_workers == "auto":
            used += busy_gpus(stream, there, True, True) > 0
            roomy = all(one.cpus >= 2 * one.gpus + 2 for one in there if one.gpus)
            if roomy and config.stream.trainer_gpus == "auto":
                assert busy_gpus(stream, there, True, True) == gpus_of(there), (there, overrides)
    assert used > 20


def test_encoders_that_run_alone_have_every_gpu():
    for gpus, expected in ((0, (8, 0)), (1, (1, 1)), (4, (4, 1))):
        alone = place_encoders(load_config(None, []).stream, [node(8, gpus)])
        assert (alone.encoders, alone.encoder_gpus) == expected
    alone = place_encoders(load_config(None, ["stream.encoders=8"]).stream, [node(8, 4)])
    assert (alone.encoders, alone.encoder_gpus) == (8, 0.5)


def test_what_no_node_can_hold_is_refused_and_waits_for_nothing(monkeypatch):
    monkeypatch.setattr(placement, "nodes", lambda: [node(1, 4)])
    for name in ("RAY_ADDRESS", "RAY_JOB_CONFIG_JSON_ENV_VAR"):
        monkeypatch.delenv(name, raising=False)
    stream = place(load_config(None, []), [node(1, 4)])
    with pytest.raises(
        InputError, match="1 decode tasks, 1 encoders, 1 training workers need 1.5 CPUs, the cluster has 1"
    ):
        check_placement(stream, 1, stream.encoders)


def test_an_autoscaler_s_limits_decide_and_not_the_nodes_of_the_moment(monkeypatch, tmp_path):
    """A driver on a head without CPUs or GPUs, before any worker is there."""
    launcher = {
        "max_workers": 4,
        "available_node_types": {
            "head": {"resources": {"CPU": 0}, "max_workers": 0},
            "gpu": {"resources": {"CPU": 8, "GPU": 1, "accelerator_type:T4": 1}},
        },
        "head_node_type": "head",
    }
    (tmp_path / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(launcher))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_ADDRESS", "somewhere")
    head = [node(0, 0)]
    for module in ("placement", "automatic", "precision", "placement_text"):
        monkeypatch.setattr(f"objadapt.pipeline.{module}.nodes", lambda: head)
    config = load_config(None, [])
    stream = place(config)
    assert (stream.num_workers, stream.trainer_gpus, stream.encoders, stream.encoder_gpus) == (1, 1, 3, 1)
    assert precision(config.backbone, stream) == "float16"
    assert training_text(config.model_copy(update={"backbone": precise(config.backbone, stream)}), stream) == (
        "placement  3 encoders on 3 GPUs in float16, 1 training worker on 1 GPU"
    )
    (tmp_path / "ray_bootstrap_config.yaml").write_text(
        yaml.safe_dump(
            {"max_workers": 2, "available_node_types": {"local.cluster.node": {"resources": {}, "max_workers": 2}}}
        )
    )
    unknown = place(config)  # own machines, whose file does not say what they have
    assert (unknown.encoders, unknown.encoder_gpus) == (1, 0)
    assert "warning    no GPU is there yet, and how many the autoscaler may start is not known here" in training_text(
        config, unknown
    )


def told(there: list[Nodes], *overrides: str) -> list[str]:
    config = load_config(None, overrides)
    stream = place(config, there)
    backbone = config.backbone.model_copy(update={"precision": precision(config.backbone, stream, there)})
    return training_text(config.model_copy(update={"backbone": backbone}), stream, there).splitlines()


@pytest.mark.parametrize(
    ("there", "encoders"),
    [
        ([node(2, 0)], 2),  # of half a core each in Ray's count, and a decode task beside them
        ([node(1, 0)], 1),
        ([node(4, 0), node(4, 0)], 8),
        ([node(64, 0)], 16),  # each keeps the backbone in memory
        ([node(8, 1)], 1),  # on the GPU
    ],
)
def test_encoders_that_run_alone_have_a_core_each(there, encoders):
    placed = place_encoders(load_config(None, []).stream, there)
    assert placed.encoders == encoders
    assert place_encoders(load_config(None, ["stream.encoders=3"]).stream, there).encoders == 3


def test_the_placement_is_one_line():
    assert told([node(8, 2)], "stream.encoders=2") == [
        "placement  2 encoders on 1 GPU in bf16, 1 training worker on 1 GPU"
    ]
    assert told([node(8, 1)]) == ["placement  1 encoder on 0.5 GPU in bf16, 1 training worker on 0.5 GPU"]
    assert told([node(8, 0)]) == ["placement  1 encoder on CPUs in float32, 1 training worker on CPUs"]
    assert told([node(8, 0)], HELD) == [
        "placement  first 8 encoders on CPUs in float32, then 1 training worker on CPUs"
    ]
    assert told([node(8, 2)], HELD) == [
        "placement  first 2 encoders on 2 GPUs in bf16, then 2 training workers on 2 GPUs"
    ]
    assert told([node(8, 2)], CACHED) == ["placement  2 training workers on 2 GPUs, features from the cache in bf16"]


@pytest.mark.parametrize(
    ("there", "overrides", "idle"),
    [
        ([node(8, 4)], ["stream.encoders=1"], "2 of 4 GPUs are left idle: stream.encoders=1 is set"),
        ([node(8, 2)], ["stream.encoder_gpus=0"], "1 of 2 GPUs is left idle: stream.encoder_gpus=0.0 is set"),
        (
            [node(8, 1)],
            ["stream.encoder_gpus=0", "stream.trainer_gpus=0"],
            "1 of 1 GPU is left idle: stream.encoder_gpus=0.0, stream.tr",
        ),
        ([node(2, 8)], [], "5 of 8 GPUs are left idle: their nodes have too few CPUs"),
        (
            [node(8, 8)],
            [CACHED, "training.batch_size=12"],
            "2 of 8 GPUs are left idle while training: training.batch_size=12 is shared",
        ),
        (
            [node(8, 2)],
            [CACHED, "stream.num_workers=1"],
            "1 of 2 GPUs is left idle while training: stream.num_workers=1 is set",
        ),
        (
            [node(8, 2)],
            [HELD, "stream.encoders=1"],
            "1 of 2 GPUs is left idle while encoding: stream.encoders=1 is set",
        ),
    ],
)
def test_a_gpu_that_is_left_idle_is_warned_of_with_the_reason(there, overrides, idle):
    _, warning = told(there, *overrides)
    assert warning.startswith(f"warning    {idle}")


def test_as_many_workers_as_there_is_room_for_leave_the_encoders_theirs():
    """Four workers of half a core took both cores, and waited for ever for encoders that found none."""
    there, elastic = [node(2, 0)], ["stream.num_workers=1-4", "training.batch_size=24"]
    line, warning = told(there, *elastic)
    assert line == "placement  1 encoder on CPUs in float32, 1-4 training workers on CPUs"
    assert warning == (
        "warning    stream.num_workers=1-4: 1 decode tasks, 1 encoders, 4 training workers need 3 CPUs,"
        " the cluster has 2, and workers"
        " start first; use 1-2, stream.hold or stream.cache"
    )
    stream = place(load_config(None, elastic), there)
    assert (
        starves(stream, there)
        and starves(stream, [node(3, 0)]) is None
        and starves(stream, [node(2, 0), node(2, 0)]) is None
    )
    for roomy in (["stream.num_workers=1-2"], [*elastic, HELD], [*elastic, CACHED], ["stream.num_workers=2"]):
        assert len(told(there, *roomy)) == 1


def test_encoders_alone_are_told_too(monkeypatch):
    for module in ("placement", "automatic", "precision", "placement_text"):
        monkeypatch.setattr(f"objadapt.pipeline.{module}.nodes", lambda: [node(8, 2)])
    stream = load_config(None, []).stream
    assert encoding_text(stream, place_encoders(stream), "bfloat16") == "placement  2 encoders on 2 GPUs in bf16"
    one = load_config(None, ["stream.encoders=1"]).stream
    assert "1 of 2 GPUs is left idle while encoding" in encoding_text(one, place_encoders(one), "bfloat16")


def test_float16_on_cpus_is_said_to_be_float32(caplog):
    encoders.say_float32.cache_clear()
    config = load_config(None, ["backbone.precision=float16", "stream.encoder_gpus=0"])
    assert precise(config.backbone, config.stream).precision == "float32"
    assert (
        "backbone.precision: float16 is slower than float32 on CPUs, where the backbone computes in float32"
        in caplog.text
    )


@pytest.mark.parametrize(
    ("there", "given", "overrides", "number", "expected"),
    [
        ([node(8, 0)], "auto", [], None, 0),
        ([node(8, 1)], "auto", [], 1, 1),
        ([node(8, 1)], "auto", [], 3, 1 / 3),
        ([node(8, 1)], "auto", [], None, 0.25),  # no more than four on each
        ([node(8, 4)], "auto", [], None, 0.5),
        ([node(2, 4)], "auto", [], None, 1),
        ([node(8, 2)], "auto", ["stream.trainer_gpus=0.2"], None, 0.2),
        ([node(8, 2)], "auto", ["stream.trainer_gpus=0"], None, 0),
        ([node(8, 2)], 0.5, ["stream.trainer_gpus=0.2"], None, 0.5),
        ([node(0, 2), node(8, 0)], "auto", [], None, 0),  # GPUs without CPUs beside them
        ([node(4, 1, math.inf)], "auto", [], 6, 1),
    ],
)
def test_gpus_of_trainings_side_by_side(there, given, overrides, number, expected):
    gpus, why = gpus_each("--gpus-per-row", given, load_config(None, overrides).stream, 1.0, number, there)
    assert gpus == pytest.approx(expected, abs=1e-4) and why
    if given != "auto":
        assert why == "by --gpus-per-row, in place of stream.trainer_gpus=0.2"


def test_trainings_side_by_side_are_told_with_the_gpus_that_they_leave_idle():
    there = [node(8, 2)]
    assert side_by_side_text("row", 8, 0.25, "why", there) == "placement  8 rows at a time, each on 0.25 GPU (why)"
    assert (
        side_by_side_text("row", 4, 0.25, "why", there).splitlines()[1]
        == "warning    1 of 2 GPUs is left idle by 4 rows at a time"
    )
    assert "2 of 2 GPUs are left idle by 1 trial at a time" in side_by_side_text("trial", 1, 0, "why", there)
    assert (
        side_by_side_text("trial", 1, 1, "why", there[:0], asked=2).splitlines()[1]
        == "warning    --concurrent 2: there is room for 1; a smaller --cpus-per-trial makes more"
    )
    assert len(side_by_side_text("trial", 2, 0, "why", [node(8, 0)], asked=2).splitlines()) == 1
    for wrong in (1.5, -1.0, math.nan):
        with pytest.raises(InputError, match="--gpus-per-row: .* is no share of one GPU"):
            gpus_each("--gpus-per-row", wrong, load_config(None, []).stream, 1.0, None, there)
