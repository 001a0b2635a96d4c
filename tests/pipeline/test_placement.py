"""What the nodes can hold, what they never will, and what an autoscaler may still bring."""

import pytest
import yaml

from objadapt import config
from objadapt.errors import InputError
from objadapt.pipeline import automatic, placement
from objadapt.pipeline.placement import Nodes, check_placement, check_training
from objadapt.sweeps.trials import Placement

LAUNCHER = {
    "max_workers": 5,
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 0}, "max_workers": 0},
        "decode": {"resources": {"CPU": 4}},
        "gpu": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 2},
    },
}


@pytest.fixture
def on(monkeypatch):
    """Has `check_placement` see these nodes, each (CPUs, GPUs), on a cluster that this process has not started."""
    monkeypatch.setenv("RAY_ADDRESS", "somewhere")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", "/nowhere")

    def put(*sizes: tuple[float, float]) -> None:
        for module in (placement, automatic):
            monkeypatch.setattr(
                module, "nodes", lambda: [Nodes(str(number), 1, *size) for number, size in enumerate(sizes)]
            )

    return put


def test_held_features_are_encoded_before_the_workers_start(on):
    """So encoders and workers need not fit beside each other; streamed, they must."""
    on((2, 0))
    stream = config.Stream(num_workers=1, trainer_cpus=2, encoders=1, encoder_cpus=1, decode_cpus=1, encoder_gpus=0)
    stream = stream.model_copy(update={"trainer_gpus": 0})
    check_training(stream.model_copy(update={"hold": True}))
    with pytest.raises(InputError, match="1 decode tasks, 1 encoders, 1 training workers need 4 CPUs"):
        check_training(stream)
    with pytest.raises(InputError, match="1 training workers need 3 CPUs"):
        check_training(stream.model_copy(update={"hold": True, "trainer_cpus": 3}))


@pytest.mark.parametrize("field", ["encoder_cpus", "decode_cpus", "trainer_cpus", "encoder_gpus", "trainer_gpus"])
def test_more_than_the_cluster_has_is_refused(field, local_ray):
    wanted = (
        r"stream: 1 decode tasks, 1 encoders, 1 training workers need \S+ [CG]PUs, the cluster has \S+; lower stream\."
    )
    with pytest.raises(InputError, match=wanted) as caught:
        check_placement(config.Stream(**{field: 100000.0}), workers=1, encoders=1)
    assert ("GPUs" if "gpus" in field else "CPUs") in str(caught.value)


def test_the_default_placement_fits_two_cores(on):
    on((2, 0))
    check_placement(config.Stream(num_workers=2), workers=2, encoders=1)
    with pytest.raises(InputError, match="3 training workers need 3 CPUs, the cluster has 2;"):
        check_placement(config.Stream(num_workers=3), workers=3, encoders=2)


def test_what_no_single_node_can_hold_is_refused_though_the_sum_is_enough(on):
    on((2, 0), (2, 0))
    check_placement(config.Stream(trainer_cpus=1.5), workers=2, encoders=0, decode_tasks=0)
    with pytest.raises(InputError, match="1 training workers of 3 CPUs and 0 GPUs each, the nodes have room for 0"):
        check_placement(config.Stream(trainer_cpus=3), workers=1, encoders=0, decode_tasks=0)
    on((8, 2))
    check_placement(config.Stream(encoder_gpus=0.6), workers=0, encoders=2)
    with pytest.raises(InputError, match="3 encoders of 0.5 CPUs and 0.6 GPUs each, the nodes have room for 2"):
        # 1.8 of 2 GPUs, but two do not share one
        check_placement(config.Stream(encoder_gpus=0.6), workers=0, encoders=3)


def test_nodes_that_the_launcher_may_start_are_waited_for(on, tmp_path, monkeypatch, caplog):
    on((0, 0))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(LAUNCHER))
    stream = config.Stream(encoder_gpus=0.8, trainer_gpus=0.2)
    check_placement(stream, workers=1, encoders=2)
    assert "waiting for the nodes that the autoscaler may start: stream: 1 decode tasks, 2 encoders" in caplog.text
    with pytest.raises(InputError, match=r"need 2.6 GPUs, the cluster has 2;"):  # 2 nodes with one at the most
        check_placement(stream, workers=1, encoders=3)
    with pytest.raises(InputError, match="1 training workers of 12 CPUs and 0 GPUs each, the nodes have room for 0"):
        check_placement(config.Stream(trainer_cpus=12), workers=1, encoders=1)


def test_as_many_trials_run_at_once_as_there_is_room_for(on):
    on((3, 0), (2, 0))
    assert [Placement(asked, cpus=1).at_once for asked in (1, 5, 6)] == [1, 5, 5]
    assert Placement(5, cpus=1, decode=0.5).at_once == 3, "each decodes frames beside it"
    assert Placement(5, cpus=0.5, decode=0.5).at_once == 5


def test_a_trial_is_waited_for_as_well(on, tmp_path, monkeypatch):
    on((0, 0))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(LAUNCHER))
    Placement(concurrent=20, cpus=8, gpus=0.25).check()
    with pytest.raises(InputError, match="no node has that .*8 CPUs and 1 GPUs.*; ask for less"):
        Placement(cpus=4, gpus=2).check()


def test_a_launcher_that_does_not_say_what_its_machines_have_is_waited_for(on, tmp_path, monkeypatch):
    on((0, 0))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ray_bootstrap_config.yaml").write_text(
        yaml.safe_dump(
            {"max_workers": 2, "available_node_types": {"local.cluster.node": {"resources": {}, "max_workers": 2}}}
        )
    )
    check_placement(config.Stream(), workers=1, encoders=1)


def test_on_kubernetes_a_job_waits_for_nodes_and_elsewhere_not(on, monkeypatch):
    on((0, 0))
    with pytest.raises(InputError, match="the cluster has 0"):
        check_placement(config.Stream(), workers=1, encoders=1)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    check_placement(config.Stream(), workers=1, encoders=1)
    monkeypatch.delenv("RAY_ADDRESS")  # a Ray of this process's own, in a pod: nothing will join it
    with pytest.raises(InputError, match="the cluster has 0"):
        check_placement(config.Stream(), workers=1, encoders=1)
