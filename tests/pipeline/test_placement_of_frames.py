"""A method that takes frames: no encoders run, its workers have the GPUs, and a decode task always finds a CPU."""

import pytest

from objadapt.config_file import load_config
from objadapt.errors import InputError
from objadapt.pipeline.automatic import place
from objadapt.pipeline.placement import Nodes, lacking, placement, starves
from objadapt.pipeline.placement_text import training_text
from objadapt.pipeline.precision import precision


def node(cpus: float, gpus: float) -> Nodes:
    return Nodes("node", 1, cpus, gpus)


@pytest.mark.parametrize(
    ("there", "overrides", "expected"),
    [
        ([node(2, 0)], [], (1, 0, "float32")),
        ([node(8, 1)], [], (1, 1, "bfloat16")),
        ([node(8, 4)], [], (4, 1, "bfloat16")),  # the backbone is in the workers: they have all GPUs
        ([node(2, 4)], [], (2, 1, "bfloat16")),  # three would leave no CPU to decode on, and the batch is shared evenly
        ([node(1, 4)], [], (1, 1, "bfloat16")),
        ([node(8, 2)], ["stream.encoders=2", "stream.encoder_gpus=1"], (2, 1, "bfloat16")),  # of no meaning here
        ([node(8, 2)], ["stream.num_workers=1"], (1, 1, "bfloat16")),
        ([node(8, 2)], ["stream.num_workers=1", "stream.trainer_gpus=0", "stream.encoder_gpus=1"], (1, 0, "float32")),
    ],
)
def test_frames_need_no_encoders_and_room_to_decode(there, overrides, expected):
    config = load_config(None, overrides)
    stream = place(config, there, "frames")
    assert (stream.num_workers, stream.trainer_gpus, precision(config.backbone, stream, there)) == expected
    assert (stream.encoders, stream.encoder_gpus) == (0, 0)
    parts = placement(stream, stream.num_workers, stream.encoders)
    assert lacking(parts, there) is None and parts.set_index("part")["number"].to_dict() == {
        "decode task": 1,
        "encoder": 0,
        "training worker": expected[0],
    }


def test_frames_are_told_and_what_would_starve_their_decoding_is_refused():
    config = load_config(None, [])
    four = place(config, [node(8, 4)], "frames")
    bf16 = config.model_copy(update={"backbone": config.backbone.model_copy(update={"precision": "bfloat16"})})
    said = training_text(bf16, four, [node(8, 4)])
    assert said == "placement  no encoders, the method takes frames; 4 training workers on 4 GPUs in bf16"
    elastic = load_config(None, ["stream.num_workers=1-4", "training.batch_size=24"])
    problem = starves(place(elastic, [node(2, 0)], "frames"), [node(2, 0)])
    assert problem.endswith("need 2.5 CPUs, the cluster has 2, and workers start first; use 1-3")
    one = place(load_config(None, ["stream.num_workers=1", "stream.trainer_gpus=1"]), [node(8, 2)], "frames")
    _, warning = training_text(load_config(None, ["stream.num_workers=1"]), one, [node(8, 2)]).splitlines()
    assert warning == "warning    1 of 2 GPUs is left idle: stream.num_workers=1 is set; auto uses what it can"


@pytest.mark.parametrize("stored", ["stream.hold=true", "stream.cache=features"])
def test_frames_are_neither_held_nor_cached(stored):
    name = stored.partition("=")[0]
    with pytest.raises(InputError, match=f"{name}: is for features, and this method takes frames; leave it out"):
        place(load_config(None, [stored]), [node(8, 1)], "frames")
