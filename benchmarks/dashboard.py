"""How long the results app takes to its first page over a store of many runs, in a browser; other pages beside it.

    python benchmarks/dashboard.py outputs --runs 500

The runs are copies of a real store's, plain files alone; a fresh process of the app for each repetition. "first" is
from the address typed to a page that is at rest, the app's own imports included; "again" is the same in a second
window. `--runs 0` takes the store as it is, which tells what its size costs.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))

from playwright.sync_api import Browser, sync_playwright

from objadapt.run_folder import (
    CLIPS,
    CONFIG,
    LAST,
    MANIFEST,
    MLFLOW_RUN,
    QUARANTINE,
    RECORDS,
    RUNS,
    SUMMARY,
    SWEEPS,
    TABLES,
)

REPOSITORY = Path(__file__).resolve().parents[1]
FILES = (SUMMARY, RECORDS, CLIPS, QUARANTINE, CONFIG, MLFLOW_RUN, MANIFEST, LAST)
REST = """document.querySelector('[data-testid=stApp]')?.dataset.testScriptState == 'notRunning'
  && document.querySelector('h1') && !document.querySelector('[data-testid=stSkeleton]')"""


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("store", type=Path, help="a job's output folder with tables and finished runs")
    options.add_argument("--runs", type=int, default=500)
    options.add_argument("--repeat", type=int, default=3)
    options.add_argument("--json", help="write the seconds as JSON, too")
    arguments = options.parse_args()
    chromium = shutil.which("chromium") or sys.exit("error: no chromium here; apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        store = (
            arguments.store
            if arguments.runs == 0
            else copies(arguments.store, Path(folder) / "outputs", arguments.runs)
        )
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        found = [measure(browser, store) for _ in range(arguments.repeat)]
        browser.close()
    seconds = {name: [one[name] for one in found] for name in found[0]}
    for name, values in seconds.items():
        print(f"{name:<16}{statistics.median(values):>7.2f} s   {min(values):.2f}-{max(values):.2f}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({"runs": arguments.runs, "seconds": seconds}) + "\n")


def copies(store: Path, into: Path, number: int) -> Path:
    """A store of so many runs: the real one's over and over, its tables and sweeps as they are."""
    real = sorted(path for path in store.glob(f"{RUNS}/*") if (path / SUMMARY).exists())
    if not real:
        sys.exit(f"error: {store}: no finished run there to copy; make one, such as by `make demo`")
    for kind in (TABLES, SWEEPS):
        if (store / kind).is_dir():
            shutil.copytree(store / kind, into / kind, ignore=shutil.ignore_patterns("tune"))
    for count in range(number):
        source = real[count % len(real)]
        folder = into / RUNS / f"{source.name}-{count}"
        folder.mkdir(parents=True)
        for name in FILES:
            if (source / name).is_dir():
                shutil.copytree(source / name, folder / name, ignore=shutil.ignore_patterns("optimiser.pt"))
            elif (source / name).exists():
                shutil.copy2(source / name, folder / name)
    return into


def measure(browser: Browser, store: Path) -> dict[str, float]:
    """Seconds of each page, from a fresh process of the app."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "dashboards", "--server.port", str(port), str(store.absolute())]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, env=os.environ)
    address, seconds = f"http://127.0.0.1:{port}", {}
    try:
        started = time.perf_counter()
        while not _healthy(address):
            if process.poll() is not None or time.perf_counter() - started > 120:
                sys.exit("error: the app did not start; run `make dashboard` to see why")
            time.sleep(0.05)
        seconds["start"] = time.perf_counter() - started
        for name in ("first", "again"):
            page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
            page.set_default_timeout(120_000)
            started = time.perf_counter()
            page.goto(address)
            page.wait_for_function(REST)
            seconds[name] = time.perf_counter() - started
        for title in ("Runs", "Sweep", "Objects"):
            started = time.perf_counter()
            page.get_by_role("link", name=title, exact=True).click()
            page.get_by_role("heading", name=title, level=1).wait_for()
            page.wait_for_function(REST)
            seconds[f"then {title}"] = time.perf_counter() - started
    finally:
        process.terminate()
        process.wait()
    return seconds


def _healthy(address: str) -> bool:
    try:
        return urllib.request.urlopen(f"{address}/_stcore/health", timeout=5).status == 200
    except OSError:
        return False


if __name__ == "__main__":
    main()
