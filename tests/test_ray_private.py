"""Each private name of Ray does what it is taken for, in the version that is installed."""

import ray
from ray._private import ray_constants

from objadapt import ray_private


def test_attempts_are_counted_from_nought(local_ray):
    @ray.remote(max_retries=2)
    def tried(folder):
        from objadapt.ray_private import attempt

        if attempt() < 2:
            raise SystemExit(1)  # the process ends
        return attempt()

    assert ray.get(tried.remote("")) == 2
    assert ray_private.attempt() == 0


def test_the_resources_of_this_machine_are_those_that_a_ray_counts(local_ray):
    (node,) = ray.nodes()
    here = ray_private.resources_here()
    assert here["CPU"] == node["Resources"]["CPU"] and here["object_store_memory"] > 0


def test_the_ray_that_is_meant_is_found_and_answers(local_ray, monkeypatch):
    mine = ray.get_runtime_context().gcs_address
    monkeypatch.setenv("RAY_ADDRESS", mine)  # else the newest, which may be another's
    assert ray_private.address_meant() == mine
    ray_private.ask_head(mine)


def test_one_host_is_put_back(monkeypatch):
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", True)
    with ray_private.one_host(True):
        assert ray_constants.ENABLE_RAY_CLUSTER is False
    with ray_private.one_host(False):
        assert ray_constants.ENABLE_RAY_CLUSTER is True
    assert ray_constants.ENABLE_RAY_CLUSTER is True
