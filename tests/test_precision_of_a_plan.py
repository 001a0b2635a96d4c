"""What the backbone computes in belongs to a run and to its cache, and is known before either is named.

Where it runs does not.
"""

from pathlib import Path

import pytest

from objadapt.pipeline.cache_folder import write_record
from objadapt.plan import Plan

ON_GPU = "stream.encoder_gpus=1"  # set, so that it is believed, whatever this machine has


def keep(plan: Plan) -> None:
    """The beginning of a cache of a plan."""
    path = Path(plan.config.stream.cache, plan.cache_key)
    path.mkdir(parents=True)
    write_record(path, plan.cache_key, plan.contents, 5, 64, 4, {"backbone": plan.config.backbone.model_dump()})


def test_cpus_compute_in_float32_and_gpus_in_bfloat16_which_is_another_run_and_another_cache(tiny_plan, tmp_path):
    cpu, gpu = tiny_plan("stream.encoder_gpus=0"), tiny_plan(ON_GPU)
    assert (cpu.config.backbone.precision, gpu.config.backbone.precision) == ("float32", "bfloat16")
    assert cpu.identity != gpu.identity
    # however it was chosen
    assert cpu.identity == tiny_plan("stream.encoder_gpus=0", "backbone.precision=float32").identity
    assert gpu.identity == tiny_plan(ON_GPU, "backbone.precision=bfloat16").identity
    cached = [tiny_plan(f"stream.cache={tmp_path}", where) for where in ("stream.encoder_gpus=0", ON_GPU)]
    assert cached[0].cache_key != cached[1].cache_key


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_on_cpus_is_the_run_in_float32(tiny_plan, precision):
    plain = tiny_plan("stream.encoder_gpus=0")
    half = tiny_plan("stream.encoder_gpus=0", f"backbone.precision={precision}")
    assert half.config.backbone.precision == "float32" and half.identity == plain.identity
    assert tiny_plan(ON_GPU, f"backbone.precision={precision}").config.backbone.precision == precision


def test_where_it_runs_is_no_part_of_a_run_and_stays_as_it_was_asked_for(tiny_plan):
    placed = [
        tiny_plan(ON_GPU, *more)
        for more in ([], ["stream.encoders=3"], ["stream.trainer_gpus=0.5", "stream.num_workers=1"])
    ]
    assert len({plan.identity for plan in placed}) == 1
    assert placed[0].placed.encoders == 1 and placed[1].placed.encoders == 3
    assert placed[0].config.stream.encoders == "auto"  # what a checkpoint keeps, so that it is placed anew elsewhere
    assert placed[0].settings.stream == placed[0].placed


def test_a_cache_s_precision_is_that_of_the_plan_where_the_config_leaves_it_open(tiny_plan, tmp_path):
    """Features that were encoded on GPUs serve a training on CPUs, which encodes nothing."""
    cache, cpu = f"stream.cache={tmp_path}", "stream.encoder_gpus=0"
    on_gpu, float16 = tiny_plan(cache, ON_GPU), tiny_plan(cache, ON_GPU, "backbone.precision=float16")
    assert tiny_plan(cache, cpu).config.backbone.precision == "float32"  # nothing is there yet
    keep(on_gpu)
    there = tiny_plan(cache, cpu)
    assert there.config.backbone.precision == "bfloat16"
    assert (there.cache_key, there.identity) == (on_gpu.cache_key, on_gpu.identity)
    assert tiny_plan(cache, cpu, "backbone.precision=float32").config.backbone.precision == "float32"
    assert tiny_plan(cache, cpu, "backbone.precision=float16").config.backbone.precision == "float32"
    keep(float16)
    assert tiny_plan(cache, cpu, "backbone.precision=float16").cache_key == float16.cache_key
    keep(tiny_plan(cache, cpu, "backbone.precision=float32"))
    assert tiny_plan(cache, cpu).config.backbone.precision == "float32"  # its own comes first
    (tmp_path / on_gpu.cache_key / "cache.json").write_text("{")
    assert tiny_plan(cache, ON_GPU).config.backbone.precision == "bfloat16"  # a damaged one is named by who opens it
