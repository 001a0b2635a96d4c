"""The arithmetic of a plan: hand-counted, in proportion to the cluster, never better for worse rates,
nothing overbooked.
"""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from objadapt.capacity import phases
from objadapt.capacity.phases import CORE, GPU, Cluster, Rate, Workload
from objadapt.capacity.rates import of_another, read_rates, write_rates
from objadapt.capacity.report import advice, report
from objadapt.config_file import load_config
from objadapt.errors import InputError
from objadapt.pipeline.automatic import place
from objadapt.pipeline.placement import Nodes, lacking, placement

ON_GPU = ["encoder_gpus=0.8", "encoder_cpus=1", "trainer_gpus=0.2", "trainer_cpus=1", "decode_cpus=1"]
ON_GPU = [f"stream.{one}" for one in ON_GPU]
ON_CORES = ["stream.encoder_gpus=0", "stream.trainer_gpus=0"]
SHAPE = ["training.epochs=10", "training.batch_size=64", "training.validate_every=3", "evaluation.temporal_clips=2"]
NETWORKS = (None, 1e9)


def work(*overrides: str, gpu: bool = True) -> Workload:
    """1,000 training and 100 validation clips, 10 epochs, 4 validations of 2 views."""
    return Workload("w", 1000, 100, load_config(None, [*SHAPE, *(ON_GPU if gpu else ON_CORES), *overrides]))


def rates(gpu: bool = True, **values: float) -> dict[str, Rate]:
    """Rates whose bottleneck is nowhere in particular, with other values for some."""
    device = GPU if gpu else CORE
    base = {
        "decode": 10,
        "encode": 100,
        "train": 300,
        "cache_bytes": 1e6,
        "read": 1e9,
        "frame_bytes": 1e6,
        "video_bytes": 1e6,
    }
    units = {"encode": f"clips/s a {device}", "train": f"clips/s a {device}"}
    return {
        name: Rate(value, units.get(name, phases.UNITS[name][0]), "-", "-") for name, value in (base | values).items()
    }


def all_phases(job: Workload, cluster: Cluster, given: dict[str, Rate]):
    return [phases.streaming(job, cluster, given), *phases.from_cache(job, cluster, given)]


def test_views_are_counted_by_hand():
    job = work()
    assert job.validated == 4 * 100 * 2  # after epochs 3, 6, 9 and the last
    assert job.streamed == 10 * 1000 + 800
    assert job.extracted == 2 * 1000 + 2 * 100
    assert job.trained == pytest.approx(10_000 + 800 / 3)
    assert phases.cache_bytes(job, rates()) == 2200 * 1e6


def test_hours_are_counted_by_hand():
    """2 nodes of 8 cores and 2 GPUs: a GPU for one worker and 3 for encoders leave 16 - 3 - 1 cores to decode, which is
    slowest; with the worker beside one of 4 encoders there would be 11."""
    stream, extract, train = all_phases(work(), Cluster(2, 8, 2), rates())
    steps = (10_000 + 800 / 3) / 300
    by_hand = {"decode": 10_800 / 10 / 12, "encode": 10_800 / 100 / 3, "train": steps, "GPUs": (108 + steps) / 4}
    assert stream.loads() == pytest.approx(by_hand)
    assert stream.bottleneck == "decode" and stream.hours == pytest.approx(10_800 / 10 / 12 / 3600)
    assert extract.hours == pytest.approx(2200 / 10 / 12 / 3600)
    assert train.settings["stream.num_workers"] == 4 and train.hours == pytest.approx(
        (10_000 + 800 / 3) / 300 / 4 / 3600
    )
    assert train.loads()["read"] == pytest.approx(10_800 * 1e6 / 1e9 / 2)
    started = rates() | {"start": Rate(36, "s", "-", "-")}
    assert phases.streaming(work(), Cluster(2, 8, 2), started).hours == pytest.approx(stream.hours + 0.01)


@pytest.mark.parametrize(
    "gpu, slow, bottlenecks",
    [
        (True, {"encode": 1, "decode": 1e6, "train": 1e6, "read": 1e4}, ("GPUs", "encode", "read")),
        (False, {"read": 1e12}, ("cores", "cores", "cores")),  # reading and training share them
        (False, {"encode": 1e9, "train": 1e9, "read": 1e4}, ("cores", "cores", "read")),
    ],
)
def test_twice_the_nodes_halve_the_hours_of_what_is_waited_for(gpu, slow, bottlenecks):
    for phase in range(3):
        once, twice = (all_phases(work(gpu=gpu), Cluster(nodes, 16, 4), rates(gpu, **slow))[phase] for nodes in (2, 4))
        assert once.bottleneck == bottlenecks[phase]
        assert twice.loads()[once.bottleneck] == pytest.approx(once.loads()[once.bottleneck] / 2, rel=1e-3)
        assert twice.hours == pytest.approx(once.hours / 2, rel=1e-3)


@pytest.mark.parametrize("gpu", [True, False])
def test_nothing_better_makes_it_longer(gpu):
    rng, job = np.random.default_rng(0), work(gpu=gpu)
    for trial in range(40):
        drawn = {name: float(10 ** rng.uniform(0, 4)) for name in ("decode", "encode", "train")}
        drawn["read"] = float(10 ** rng.uniform(6, 10))
        cluster = Cluster(
            int(rng.integers(1, 5)), int(rng.integers(8, 40)), int(rng.integers(1, 5)), None, NETWORKS[trial % 2]
        )
        before = [phase.hours for phase in all_phases(job, cluster, rates(gpu, **drawn))]
        for name in drawn:
            after = [phase.hours for phase in all_phases(job, cluster, rates(gpu, **drawn | {name: 1.5 * drawn[name]}))]
            assert all(now <= then * (1 + 1e-9) for now, then in zip(after, before, strict=False)), (
                cluster,
                drawn,
                name,
            )
        larger = [replace(cluster, cpus=cluster.cpus + 8), replace(cluster, nodes=cluster.nodes + 1)]
        for other in larger[: 1 if cluster.network else 2]:  # over a network, one node alone has the shorter ways
            after = [phase.hours for phase in all_phases(job, other, rates(gpu, **drawn))]
            assert all(now <= then * (1 + 1e-9) for now, then in zip(after, before, strict=False)), (
                cluster,
                other,
                drawn,
            )


@pytest.mark.parametrize("gpu, network", list(itertools.product([True, False], NETWORKS)))
def test_every_device_is_used_in_full_or_less_and_one_is_used_in_full(gpu, network):
    """At the planned pace no stage works faster than its units can, and no core or GPU does two things at once."""
    rng, job = np.random.default_rng(1), work(gpu=gpu)
    for _ in range(40):
        given = rates(gpu, **{name: float(10 ** rng.uniform(0, 4)) for name in ("decode", "encode", "train")})
        cluster = Cluster(int(rng.integers(1, 5)), int(rng.integers(8, 40)), int(rng.integers(1, 5)), None, network)
        for phase in all_phases(job, cluster, given):
            seconds = phase.hours * 3600
            used = {stage.name: stage.seconds / (stage.units * seconds) for stage in phase.stages}
            for device in (CORE, GPU):
                together = sum(stage.seconds for stage in phase.stages if stage.device == device)
                used[device] = together / (phase.capacity[device] * seconds) if together else 0
            assert max(used.values()) == pytest.approx(1) and min(used.values()) >= 0


@pytest.mark.parametrize("gpu", [True, False])
def test_the_settings_of_a_plan_are_valid_and_fit_the_cluster(gpu):
    for nodes, cpus, gpus, train in itertools.product((1, 3), (4, 17), (1, 4), (1, 1e4)):
        cluster, job = Cluster(nodes, cpus + gpus, gpus), work(gpu=gpu)
        for phase in all_phases(job, cluster, rates(gpu, train=train)):
            overrides = [f"{key}={value:g}" for key, value in phase.settings.items()]
            stream = load_config(
                None, [*SHAPE, *(ON_GPU if gpu else ON_CORES), *overrides]
            ).stream  # refuses what cannot be
            workers = stream.num_workers if phase.name != "extract" else 0
            encoders = stream.encoders if phase.name != "train from cache" else 0
            decoder = stream.decode_cpus if encoders else 0
            assert workers * stream.trainer_gpus + encoders * stream.encoder_gpus <= nodes * gpus + 1e-9
            assert workers * stream.trainer_cpus + encoders * stream.encoder_cpus + decoder <= nodes * (cpus + gpus)


def test_gpus_whose_cores_are_too_few_are_planned_without():
    # a core an encoder and a worker, one for a decode task
    for cpus, gpus, encoders in (
        (8, 8, 6),
        (3, 8, 1),
        (4, 2, 1),
    ):
        phase = phases.streaming(work(gpu=True), Cluster(1, cpus, gpus), rates(True))
        assert phase.settings["stream.encoders"] == encoders, (cpus, gpus)
    with pytest.raises(
        InputError, match="1 nodes of 2 CPUs and 8 GPUs have no place for an encoder, a training worker and a decoder"
    ):
        phases.streaming(work(gpu=True), Cluster(1, 2, 8), rates(True))


def test_rates_of_a_core_are_never_a_gpus_and_what_is_missing_is_named():
    for job, given, missing in (
        (work(), rates(gpu=False), ["encode (clips/s a GPU)", "train (clips/s a GPU)"]),
        (work(gpu=False), rates(gpu=True), ["encode (clips/s a core)", "train (clips/s a core)"]),
        (
            work(gpu=False),
            {},
            ["decode (clips/s a core)", "cache_bytes (bytes a clip)", "read (bytes/s a node)", "encode"],
        ),
    ):
        with pytest.raises(InputError) as caught:
            phases.streaming(job, Cluster(1, 8, 1), given)
        for name in missing:
            assert name in str(caught.value)
    with pytest.raises(InputError, match="frame_bytes.*video_bytes.*missing"):
        known = {name: rate for name, rate in rates().items() if name not in phases.NETWORK}
        phases.streaming(work(), Cluster(1, 8, 1, network=1e9), known)


@pytest.mark.parametrize("cluster", [Cluster(4, 32, 0), Cluster(1, 1, 1)])
def test_a_cluster_without_room_is_refused(cluster):
    with pytest.raises(InputError, match="have no place for an encoder, a training worker and a decoder"):
        phases.streaming(work(), cluster, rates())


def test_the_advice_names_what_helps_and_following_it_does():
    cluster = Cluster(1, 16, 1)
    slow = phases.streaming(work(), cluster, rates(decode=1, encode=100))
    words = advice(slow)
    assert words.startswith("streaming waits for cores (decode 100%): ")
    more = int(words.split(": ")[1].split(" more")[0].replace(",", ""))
    hours = float(words.split("bring it to ")[1].split(" h")[0])
    followed = phases.streaming(work(), replace(cluster, cpus=16 + more), rates(decode=1, encode=100))
    assert followed.hours == pytest.approx(hours, rel=0.02) and followed.bottleneck != "decode"
    assert "waits for reading" in advice(phases.from_cache(work(), cluster, rates(read=1e3))[1])
    assert "waits for the network" in advice(phases.streaming(work(), replace(cluster, nodes=2, network=1e4), rates()))


def test_a_cache_is_of_the_whole_data_set_whatever_share_of_it_is_used():
    whole = replace(work("data.fraction=0.25"), train_clips=250, whole=(1000, 100))
    assert (whole.trained_views, whole.extracted) == (10 * 250, work().extracted)
    held = replace(work("data.holdout=0.2"), train_clips=800, val_clips=200, whole=(1000, 100))
    assert held.extracted == 2 * 1000 + 2 * (100 + 1000), "any training clip may be held out: all have test views"


def test_rates_that_were_measured_with_other_settings_are_told_apart(tmp_path):
    long, short = (load_config(None, [f"sampling.frames={frames}"]) for frames in (32, 8))
    write_rates(tmp_path / "rates.json", rates(), long)
    read, measured = read_rates(tmp_path / "rates.json")
    assert read == rates() and of_another(long, measured) == ""
    assert of_another(short, measured) == "sampling.frames was 32 and is 8"
    assert of_another(short, {}) == "", "files of older versions say nothing of it"


def test_int8_is_not_advised_to_whom_has_it():
    for storage, advised in (("float16", True), ("int8", False)):
        text, _ = report(work(f"stream.storage={storage}"), Cluster(2, 16, 2, 2e9), rates(), "")
        assert ("stream.storage=int8 takes half" in text) is advised and "GB too much" in text


def test_the_report_says_whether_the_disk_suffices_and_how_it_was_known():
    cluster = Cluster(2, 16, 2)
    for disk, suffices, said in (
        (None, None, "--disk-gb"),
        (2.3e9, True, "it fits"),
        (2.1e9, False, "0.1 GB too much"),
    ):
        text, values = report(work(), replace(cluster, disk=disk), rates(), "counted so")
        assert values["disk_suffices"] is suffices and said in text and "counted so" in text
        assert values["cache_bytes"] == 2.2e9
    assert values["advice"].startswith("stream, as the disk is too small") and text.count("advice: ") == 1


def test_auto_is_planned_on_gpus_where_there_are_some_and_told_as_a_dry_run_there_would():
    job = Workload("w", 1000, 100, load_config(None, SHAPE))
    for cluster, gpu, line in (
        (Cluster(2, 8, 2), True, "placement  3 encoders on 3 GPUs in bf16, 1 training worker on 1 GPU"),
        (Cluster(1, 8, 1), True, "placement  1 encoder on 0.5 GPU in bf16, 1 training worker on 0.5 GPU"),
        (Cluster(2, 8, 0), False, "placement  1 encoder on CPUs in float32, 1 training worker on CPUs"),
    ):
        assert {job.device(stage, cluster) for stage in ("encode", "train")} == {GPU if gpu else CORE}
        text, values = report(job, cluster, rates(gpu), "counted so")
        assert line in text.splitlines()
        stream = values["phases"]["streaming"]["settings"]
        assert (stream.get("stream.encoder_gpus", 0) > 0) == (stream.get("stream.trainer_gpus", 0) > 0) == gpu
        asked = load_config(None, [*SHAPE, *(f"{key}={value:g}" for key, value in stream.items())])
        there = [Nodes("node", cluster.nodes, cluster.cpus, cluster.gpus)]
        placed = place(asked, there)  # what the plan leaves open fits beside what it sets
        assert lacking(placement(placed, placed.num_workers, placed.encoders), there) is None


def test_reading_is_beside_the_steps_of_a_gpu_and_among_those_of_cores():
    """The thread that reads ahead needs a core, which steps on cores then lack."""
    on_cores, on_gpus = (
        phases.from_cache(work(gpu=gpu), Cluster(1, 16, 4), rates(gpu, read=1e6))[1] for gpu in (False, True)
    )
    shares = {stage.name: stage.seconds / 16 for stage in on_cores.stages}
    assert on_cores.loads()["cores"] == pytest.approx(shares["train"] + shares["read"])
    assert "cores" not in on_gpus.loads()
