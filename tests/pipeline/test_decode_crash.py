"""A decoder that dies of one clip: that clip is quarantined, every other one comes through,
whoever else dies meanwhile.
"""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import ray

from objadapt.pipeline import decoding, stream
from objadapt.pipeline.positions import positions
from objadapt.pipeline.quarantine import decode_reason


def run_with(plan, schedule, decode: decoding.DecodeGrids) -> dict[str, np.ndarray]:
    """As stream.decoded_stream, with another decoder."""
    stream.configure_data_context()
    task = stream.decode_task(plan.config.stream)
    dataset = positions(schedule.blocks(), task).map_batches(decode, batch_size=None, **task)
    blocks = list(dataset.iter_batches(batch_size=None, batch_format="numpy"))
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


@pytest.mark.slow
@pytest.mark.parametrize("deaths", ["at one clip, always", "once, by chance"])
def test_a_process_that_dies_costs_no_clip_but_the_one_that_kills_it(local_ray, tiny_plan, tmp_path, deaths):
    plan = tiny_plan("training.batch_size=16")
    schedule = plan.schedule.for_holding(1)
    victim, struck = int(schedule.train_rows[5]), tmp_path / "struck"

    class Fragile(decoding.DecodeGrids):  # local, so that it travels to the workers by value
        def _view(self, clip, row: int, view: int, train: bool):
            if row == victim and (deaths == "at one clip, always" or not Path(struck).exists()):
                Path(struck).touch()
                os.kill(os.getpid(), signal.SIGSEGV)
            return super()._view(clip, row, view, train)

    arguments = ray.put(schedule), ray.put(plan.manifest.table), plan.config, (4,), plan.crop, plan.flip
    whole = run_with(plan, schedule, decoding.DecodeGrids(*arguments))
    found = run_with(plan, schedule, Fragile(*arguments))
    assert struck.exists()
    assert found["row"].tolist() == whole["row"].tolist()  # nothing lost, nothing twice, the order kept
    died = found["row"] == victim if deaths == "at one clip, always" else np.zeros(len(whole["row"]), bool)
    assert (found["valid"] == whole["valid"] & ~died).all()
    for name in ("frames", "short", "decoder", "reason"):
        assert np.array_equal(found[name][~died], whole[name][~died]), name
    for reason in found["reason"][died]:
        assert decode_reason(reason) == (
            "decode",
            "the decoding process died 3 times of this clip (WorkerCrashedError)",
        )
