"""Each private name of Ray does what it is taken for, in the version that is installed."""

import importlib
import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import ray
from ray._private import ray_constants

from objadapt import ray_private

REPOSITORY = Path(__file__).resolve().parents[1]


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


def test_ray_train_is_told_which_ray_is_its_own_while_it_trains(local_ray, monkeypatch):
    from ray.train.v2._internal.constants import get_env_vars_to_propagate

    name = ray_constants.RAY_API_SERVER_ADDRESS_ENVIRONMENT_VARIABLE
    for before in (None, "http://127.0.0.1:1"):
        monkeypatch.delenv(name, raising=False) if before is None else monkeypatch.setenv(name, before)
        with ray_private.own_ray():
            assert get_env_vars_to_propagate()[name] == ray.get_runtime_context().gcs_address
        assert os.environ.get(name) == before and name not in get_env_vars_to_propagate()


def test_what_is_said_at_every_start_is_not_said():
    said, handler = [], logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    ray_private.hush()
    for name, begins in ray_private.HUSHED.items():
        logging.getLogger(name).addHandler(handler)
        for one in begins:
            logging.getLogger(name).error("%s for this Ray", one)
        logging.getLogger(name).error("something else")
        logging.getLogger(name).removeHandler(handler)
    assert said == ["something else"] * len(ray_private.HUSHED)


def test_the_loggers_that_are_hushed_are_those_of_ray():
    """By the lines in its sources: another version may say them elsewhere."""
    for name, begins in ray_private.HUSHED.items():
        source = Path(importlib.import_module(name).__file__).read_text()
        assert all(one in source for one in begins), name


def test_one_host_is_put_back(monkeypatch):
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", True)
    with ray_private.one_host(True):
        assert ray_constants.ENABLE_RAY_CLUSTER is False
    with ray_private.one_host(False):
        assert ray_constants.ENABLE_RAY_CLUSTER is True
    assert ray_constants.ENABLE_RAY_CLUSTER is True


def test_encoders_begin_without_a_line_of_ray_s_own():
    """An actor whose arguments lie in the object store, as Ray Data's are; Ray calls that an error each time."""
    code = f"""
        import sys
        sys.path.insert(0, {str(REPOSITORY / "platform")!r})
        from objadapt.ray_start import start_ray
        start_ray(1)
        import os, ray
        @ray.remote(max_restarts=-1)
        class Actor:
            def __init__(self, content):
                pass
            def ready(self):
                return True
        print(ray.get(Actor.remote(ray.put(bytes(10**6))).ready.remote()), os.environ.get("RAY_BACKEND_LOG_LEVEL"))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.stdout == "True None\n" and done.stderr == "", done.stderr


def test_what_is_held_back_comes_later(capfd):
    with ray_private._without_lines_of("level"):
        os.write(2, b"before\nthe level is 3\nafter")
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "before\nafter"
