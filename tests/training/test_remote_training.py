"""A training of data by URL is the one of the same data on disk, bit for bit, whatever happens on the way."""

import json
import os
import re
import signal
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
import pytest
from http_files import serve
from ports import free_port
from slow_proxy import slow_proxy

from objadapt.data import remote
from objadapt.run_folder import BEST, CLIPS, LAST, MANIFEST, QUARANTINE, RECORDS, RUNS

pytestmark = pytest.mark.slow

WEIGHTS = "adapter.safetensors"


@pytest.fixture(autouse=True)
def afresh():
    remote.known_version.cache_clear()


@pytest.fixture
def train(run_job, tiny_config, tmp_path):
    """`train(root, "key=value", ...)`: the run of the fixture `trained`, of data elsewhere; -> (job, run's folder)."""

    def run(root: str, *overrides: str):
        output = tmp_path / "outputs"
        settings = [f"output={output}", "tracking.uri=null", "stream.num_workers=1", "name=tiny-run", *overrides]
        done = run_job("train", "--config", tiny_config, f"data.root={root}", *settings)
        assert done.code == 0, done.err
        [folder] = (path for path in (output / RUNS).iterdir() if not path.is_symlink())
        return done, folder

    return run


def run_of(trained) -> Path:
    [folder] = (path for path in (trained.output / RUNS).iterdir() if not path.is_symlink())
    return folder


def assert_same_training(folder: Path, trained) -> None:
    there = run_of(trained)
    assert folder.name == there.name  # the same run by its identity: where the data lies is no part of it
    for kind in (LAST, BEST):
        assert (folder / kind / WEIGHTS).read_bytes() == (there / kind / WEIGHTS).read_bytes()
    pd.testing.assert_frame_equal(pd.read_parquet(folder / CLIPS), pd.read_parquet(there / CLIPS), check_exact=True)


def test_from_s3_it_equals_the_one_from_disk(train, trained, toy_root, s3, bucket_environment, tmp_path):
    root = s3.copy(toy_root, "a data set")
    done, folder = train(root, f"stream.download_cache={tmp_path / 'kept'}")
    assert_same_training(folder, trained)
    summary = json.loads((folder / "summary.json").read_text())
    videos = [Path(path) for path in pd.read_parquet(run_of(trained) / MANIFEST / "manifest.parquet")["path"]]
    assert summary["bytes_fetched"] == sum(path.stat().st_size for path in videos)  # each video once in two epochs
    assert summary["clips_shown"] == 2 * len(videos)
    assert summary["bytes_fetched_a_clip"] == round(summary["bytes_fetched"] / summary["clips_shown"])
    assert f"kB a clip shown ({2 * len(videos)})" in done.out
    texts = done.out + done.err
    for path in (tmp_path / "outputs").rglob("*"):
        texts += path.read_text(errors="replace") if path.is_file() else ""
    assert bucket_environment["AWS_SECRET_ACCESS_KEY"] not in texts


def test_from_google_cloud_storage_it_equals_the_one_from_disk(train, trained, toy_root, gs):
    _, folder = train(gs.copy(toy_root, "a data set"))
    assert_same_training(folder, trained)


def write_shards(trained, folder: Path, clips: int = 12) -> None:
    """The clips of `trained` in its order, so many a shard, with their class numbers."""
    table = pd.read_parquet(run_of(trained) / MANIFEST / "manifest.parquet")
    for split, rows in table.groupby("split"):
        for number, (_, row) in enumerate(rows.iterrows()):
            (folder / "labels").write_text(str(row["label"]))
            with tarfile.open(folder / f"{split}-{number // clips:06d}.tar", "a") as tar:
                tar.add(row["path"], f"{number:06d}{Path(row['path']).suffix}")
                tar.add(folder / "labels", f"{number:06d}.cls")
    (folder / "labels").unlink()


def learned(folder: Path) -> dict[tuple[str, int], float]:
    """(name, step) -> losses of the steps and scores of the epochs, as they were recorded."""
    records = map(json.loads, (folder / RECORDS).read_text().splitlines())
    metrics = [(one["step"], *value) for one in records if one["kind"] == "metrics" for value in one["values"].items()]
    return {(name, step): value for step, name, value in metrics if name.startswith(("step/", "epoch/val/"))}


@pytest.mark.parametrize("place", ["disk", "s3"])
def test_from_tar_shards_it_has_the_numbers_of_the_one_from_single_files(train, trained, tmp_path, s3, place):
    """Clips have other names in shards, so the run is another one by its identity; what it computes is the same."""
    (tmp_path / "set").mkdir()
    write_shards(trained, tmp_path / "set")
    root = s3.copy(tmp_path / "set", "shards") if place == "s3" else tmp_path / "set"
    pattern = ["data.train=train-{000000..000002}.tar", "data.val=val-{000000..000001}.tar"]
    _, folder = train(str(root), "data.format=shards", *pattern)
    there = run_of(trained)
    assert folder.name != there.name
    assert learned(folder) == learned(there)
    assert {("step/total", 8), ("step/distillation", 1), ("epoch/val/top1", 2)} <= learned(folder).keys()
    for kind in (LAST, BEST):
        assert (folder / kind / WEIGHTS).read_bytes() == (there / kind / WEIGHTS).read_bytes()
    pd.testing.assert_frame_equal(pd.read_parquet(folder / CLIPS), pd.read_parquet(there / CLIPS), check_exact=True)


@contextmanager
def killing_who_downloads(kept: Path, files) -> Iterator[list[int]]:
    """For the time of the block, wait for a download and kill its process; from then on the server is quick.

    What has come of a small file may be in the process's memory still, so the size of its part tells nothing.
    """
    killed: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not killed and not over.wait(0.05):
            if not any(kept.glob(".*.part")):
                continue
            over.wait(2 * files.pause)  # some of its bytes come
            parts = {str(path) for path in kept.glob(".*.part")}
            if process := next((one for one in who_holds(parts) if one != os.getpid()), None):
                os.kill(process, signal.SIGKILL)
                killed.append(process)
        files.pause = 0.0

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield killed
    finally:
        over.set()
        watching.join()


def who_holds(paths: set[str]) -> Iterator[int]:
    """Ids of the processes that have one of the files open."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            if any(os.readlink(one) in paths for one in (process / "fd").iterdir()):
                yield int(process.name)


def test_killed_half_way_through_a_download_it_goes_on(train, trained, toy_root, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    with serve(toy_root) as files:
        files.pause, files.chunk = 0.5, 500
        with killing_who_downloads(kept, files) as killed:
            _, folder = train(files.url(), f"stream.download_cache={kept}")
    assert killed
    assert_same_training(folder, trained)


def test_killed_half_way_through_a_download_from_s3_it_goes_on(
    train, trained, toy_root, buckets, bucket_environment, tmp_path
):
    """The workers of the session's Ray ask at one address, which the slow proxy has here in the server's place."""
    kept, place = tmp_path / "kept", "AWS_ENDPOINT_URL"
    kept.mkdir()
    behind = f"http://127.0.0.1:{free_port()}"
    with slow_proxy(bucket_environment[place], behind, re.compile(rb"GET [^ ]*\.mp4")) as pace:
        with buckets.serve_s3(bucket_environment | {place: behind}) as bucket:
            root = bucket.copy(toy_root, "a data set")
            pace.pause, pace.chunk = 0.5, 250
            with killing_who_downloads(kept, pace) as killed:
                _, folder = train(root, f"stream.download_cache={kept}")
    assert killed
    assert_same_training(folder, trained)


def test_what_cannot_be_fetched_is_quarantined_and_the_reason_holds_no_secret(train, toy_root, tmp_path):
    rows = pd.DataFrame({"path": sorted(str(path) for path in (toy_root / "videos").iterdir()), "split": "train"})
    rows["label"] = ["ab"[number % 2] for number in range(len(rows))]
    rows.loc[rows.index % 6 == 0, "split"] = "val"
    with serve(toy_root) as files:
        rows["path"] = [f"{files.url('videos')}/{Path(path).name}?X-Amz-Signature=topsecret" for path in rows["path"]]
        rows.loc[3, "path"] = f"{files.url('nowhere.mp4')}?X-Amz-Signature=topsecret"
        short = Path(rows.loc[4, "path"].partition("?")[0]).name
        files.short[f"videos/{short}"] = 100
        rows.to_csv(tmp_path / "labels.csv", index=False)
        done, folder = train(str(tmp_path), "data.format=csv", "data.train=labels.csv", "training.epochs=1")
    lost = pd.read_csv(folder / QUARANTINE)
    assert lost["stage"].tolist() == ["fetch", "fetch"] and "no such file" in lost["reason"].iloc[0]
    assert f"after {1 + len(remote.WAITS)} attempts" in lost["reason"].iloc[1]
    assert "topsecret" not in done.out + done.err + (folder / QUARANTINE).read_text()
