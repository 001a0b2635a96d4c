"""What a run held: GPUs where there are any, else cores; encoders only where it streamed."""

import pytest
import torch

from objadapt.runs.device_hours import device_hours


@pytest.mark.parametrize(
    ("overrides", "hours", "devices"),
    [
        (["stream.num_workers=1", "stream.trainer_cpus=2", "stream.hold=true"], 2, "2 cores"),
        (
            ["stream.num_workers=2", "stream.trainer_cpus=0.5", "stream.encoders=1", "stream.encoder_cpus=1"],
            2.5,
            "2.5 cores",
        ),
        (["stream.num_workers=1-2", "stream.trainer_cpus=1", "stream.hold=true"], 2, "2 cores"),  # elastic
        (["stream.num_workers=1", "stream.trainer_cpus=1", "method.name=st_adapter"], 1.5, "1.5 cores"),
        (["stream.num_workers=2", "stream.trainer_gpus=1", "stream.hold=true"], 2, "2 GPUs"),
        (
            ["stream.num_workers=1", "stream.trainer_gpus=0.5", "stream.encoders=1", "stream.encoder_gpus=0.5"],
            1,
            "1 GPU",
        ),
    ],
)
def test_hours_times_what_was_held(tiny_plan, overrides, hours, devices):
    found = device_hours(tiny_plan(*overrides), 3600)
    assert found == {"device_hours": pytest.approx(hours), "devices": devices}


def test_a_training_in_this_process_holds_its_threads(tiny_plan):
    found = device_hours(tiny_plan("stream.num_workers=0", "stream.hold=true"), 1800)
    assert found["device_hours"] == pytest.approx(torch.get_num_threads() / 2)
