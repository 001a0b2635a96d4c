"""jobs/plan.py: measured rates name their hardware and plan the real disk and the paper's data sets.

Bad input is one line.
"""

import json
from pathlib import Path

import pytest

from objadapt.pipeline.cache_folder import folder_bytes
from objadapt.runs.feature_caches import ensure_features

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).resolve().parents[2] / "jobs" / "configs"
CONFIGS = ("kinetics400", "something_something_v2", "epic_kitchens_100")
GIVEN = {"decode": 20, "encode": 1000, "train": 3000, "cache_bytes": 1_613_824, "read": 1e9}


def pairs(values: dict[str, float]) -> list[str]:
    return [part for name, value in values.items() for part in ("--rate", f"{name}={value}")]


@pytest.fixture(scope="module")
def measured(run_job, tiny_config, local_ray, tmp_path_factory):
    """A plan for this machine from rates of 12 of the toy clips; (finished job, its folder)."""
    folder = tmp_path_factory.mktemp("plan")
    done = run_job(
        "plan",
        "--config",
        tiny_config,
        "--cpus",
        2,
        "--measure",
        "--sample",
        12,
        "--seconds",
        0.3,
        f"output={folder}/outputs",
        "transform.size=64",
        "--json",
        folder / "plan.json",
        "--write-rates",
        folder / "rates.json",
    )
    assert done.code == 0, done.err
    return done, folder


def test_measured_rates_name_their_hardware_and_source(measured):
    done, folder = measured
    rates = json.loads((folder / "rates.json").read_text())
    assert rates.pop("measured_with")["transform.size"] == 64
    assert set(rates) == {"decode", "encode", "train", "read", "cache_bytes", "frame_bytes", "video_bytes"}
    for name in ("decode", "encode", "train"):
        assert rates[name]["unit"] == "clips/s a core" and "core" in rates[name]["hardware"]
    for name, rate in rates.items():
        assert rate["value"] > 0 and "12 clips of" in rate["source"]
        (line,) = (line for line in done.out.splitlines() if line.startswith(f"{name} ") and rate["unit"] in line)
        assert rate["hardware"] in line and rate["source"] in line
    assert rates["frame_bytes"]["value"] == 4 * 64 * 64 * 3
    assert not list((folder / "outputs").iterdir()), "the cache that was measured on is gone"
    plan = json.loads((folder / "plan.json").read_text())
    assert plan["clips"] == {"train": 32, "val": 16, "source": "in data.root"} and plan["rates"] == rates


def test_the_planned_disk_is_that_of_a_real_extraction(measured, tiny_plan, tmp_path):
    plan = tiny_plan(f"stream.cache={tmp_path}", "transform.size=64", f"output={tmp_path}/outputs")
    ensure_features([plan])
    planned = json.loads((measured[1] / "plan.json").read_text())["cache_bytes"]
    assert planned == pytest.approx(folder_bytes(tmp_path), rel=0.04)


def test_what_was_measured_on_a_core_is_not_planned_with_as_a_gpus(run_job, measured):
    arguments = [
        "--config",
        FOLDER / "kinetics400.yaml",
        "--cpus",
        32,
        "--gpus",
        4,
        "--rates",
        measured[1] / "rates.json",
    ]
    done = run_job("plan", *arguments)
    assert done.code == 2 and done.err.strip().count("\n") == 0
    assert "encode (clips/s a GPU), train (clips/s a GPU) missing" in done.err and "decode" not in done.err
    mixed = run_job("plan", *arguments, "--rate", "encode=900", "--rate", "train=2000")
    assert mixed.code == 0 and "clips/s a GPU" in mixed.out


@pytest.mark.parametrize("name", CONFIGS)
def test_the_papers_data_sets(run_job, tmp_path, name):
    cluster = ["--nodes", 4, "--cpus", 32, "--gpus", 4, "--disk-gb", 5000, "--network-gbit", 100]
    sizes = {"frame_bytes": 1_204_224, "video_bytes": 7e5}
    written = ["--json", tmp_path / "plan.json"]
    done = run_job("plan", "--config", FOLDER / f"{name}.yaml", *cluster, *written, *pairs(GIVEN | sizes))
    assert done.code == 0, done.err
    plan = json.loads((tmp_path / "plan.json").read_text())
    stream, extract, train = (plan["phases"][one]["hours"] for one in ("streaming", "extract", "train from cache"))
    epochs = {"kinetics400": 30}.get(name, 40)
    assert stream >= epochs * plan["clips"]["train"] / (20 * 4 * 32) / 3600  # all cores decoding
    assert (
        extract < stream and f"streaming {stream:.3g} h" in done.out and f"{extract:.3g} + {train:.3g} = " in done.out
    )
    assert plan["disk_suffices"] and plan["clips"]["source"] == "of common copies" and plan["advice"] in done.out


def test_without_rates_they_are_named(run_job):
    done = run_job("plan", "--config", FOLDER / "kinetics400.yaml", "--cpus", 32, "--gpus", 4)
    assert done.code == 2 and done.err.startswith("error: rates: ") and "--measure" in done.err
    for name in ("decode (clips/s a core)", "encode (clips/s a GPU)", "train (clips/s a GPU)", "cache_bytes", "read"):
        assert name in done.err


def test_videos_that_cannot_be_decoded_are_no_ground_for_a_plan(run_job, local_ray, tiny_config, tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "empty.mp4").write_bytes(b"")
    given = ["--measure", "--videos", tmp_path / "videos", f"output={tmp_path}/outputs"]
    done = run_job("plan", "--config", tiny_config, "--cpus", 2, *given)
    assert done.code == 2 and done.err.strip().splitlines()[-1].startswith(
        "error: --measure: none of 1 clips can be used"
    )
    assert not list((tmp_path / "outputs").iterdir())


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--rate", "decode"], "NAME=NUMBER"),
        (["--rate", "decode=fast"], "NAME=NUMBER"),
        (["--rate", "decode=nan"], "above 0"),
        (["--rate", "decode=-1"], "above 0"),
        (["--rate", "speed=1"], "'speed' is no rate"),
        (["--rates", "nowhere.json"], "nowhere.json"),
        (["--rates", "pyproject.toml"], "no file of rates"),
        (["--clips", "many"], "--clips: 'many'"),
        (["--clips", "0,5"], "--clips: '0,5'"),
        (["--nodes", "0"], "--nodes: 0"),
        (["--gpus", "-1"], "--gpus: -1"),
        (["--disk-gb", "nan"], "--disk-gb: nan"),
        (["name=other"], "the size of 'other' is not known"),
        (["--measure"], "--videos FOLDER"),
        (["--measure", "--videos", "nowhere"], "nowhere"),
    ],
)
def test_wrong_input(run_job, arguments, message):
    done = run_job("plan", "--config", FOLDER / "kinetics400.yaml", "--cpus", 8, *arguments)
    assert done.code == 2 and done.err.startswith("error: ") and done.err.strip().count("\n") == 0, done.err
    assert message in done.err


def test_a_file_of_rates_with_a_wrong_unit_is_refused(run_job, tmp_path):
    path = tmp_path / "rates.json"
    path.write_text(json.dumps({"decode": {"value": 3, "unit": "clips/min", "hardware": "-", "source": "-"}}))
    done = run_job("plan", "--config", FOLDER / "kinetics400.yaml", "--cpus", 8, "--rates", path)
    assert done.code == 2 and "decode is in 'clips/min'; give it in clips/s a core" in done.err
