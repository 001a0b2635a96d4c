"""The results app in a real browser: a store that real jobs made, the app as a process,
Debian's Chromium without a window.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, TimeoutError, expect, sync_playwright
from ports import free_port

from objadapt.data import toy

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 180  # that anything on a page may take; busy machines are slow


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium; nothing is ever downloaded."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium here; apt-get install chromium")
    expect.set_options(timeout=1000 * SECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def store(run_job, tiny_config, local_ray, tmp_path_factory) -> Path:
    """An output folder: a table of two rows scored on annotated sequences, one half done, one just begun;
    a sweep of 4 trials.

    One training video is broken, so a clip is quarantined.
    """
    folder = tmp_path_factory.mktemp("browser")
    output, root = folder / "outputs", folder / "toy"
    list(toy.make(root, toy.Options(train=32, validation=16, resolution=64, length=12, davis=2), workers=1))
    (root / "videos" / "0.mp4").write_bytes(b"broken")
    rows = [
        {"name": f"{slots}-slots", "overrides": [f"method.slots.number={slots}"], "paper": {"theirs": 50.0}}
        for slots in (2, 3)
    ]
    tree = {
        "caption": "Slots",
        "source": "own",
        "metrics": {"top1": {"paper": "theirs"}, "davis_jf": {}, "adapter_gflops": {}},
        "rows": rows,
    }
    tree["claims"] = [{"text": "three slots beat two", "kind": "better", "rows": ["3-slots", "2-slots"]}]
    half = (
        tree
        | {"caption": "Half", "rows": [rows[0], {"name": "later", "overrides": ["method.slots.number=5"]}]}
        | {"claims": []}
    )
    common = [
        f"data.root={root}",
        "tracking.uri=null",
        "training.epochs=1",
        "training.warmup_epochs=0.5",
        "stream.views=1",
    ]
    for name, content, chosen in (("slots", tree, []), ("half", half, ["--rows", "2-slots"])):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
        table = [
            "--table",
            folder / f"{name}.yaml",
            "--dataset",
            tiny_config,
            "--output",
            output,
            "--cpus-per-row",
            "0.5",
        ]
        done = run_job("reproduce", *table, *chosen, *common)
        assert done.code == 0, done.err
    space = {
        "sampler": "grid",
        "holdout": 0.25,
        "parameters": {
            "method.losses.distillation.slot_temperature": {"choice": [0.05, 0.5]},
            "method.losses.temporal.margin": {"choice": [0.2, 0.5]},
        },
    }
    (folder / "tau.yaml").write_text(yaml.safe_dump(space))
    trials = [
        "--trials",
        "4",
        "--concurrent",
        "2",
        "--cpus-per-trial",
        "0.5",
        "--config",
        tiny_config,
        *common,
        f"output={output}",
    ]
    done = run_job("sweep", folder / "tau.yaml", *trials, f"stream.cache={output}/features")
    assert done.code == 0, done.err
    (output / "tables" / "tiny" / "begun.mlflow.json").write_text(
        json.dumps({"uri": f"sqlite:///{output}/mlflow.db", "run_id": "x"})
    )
    return output


@contextmanager
def served(store: Path | str) -> Iterator[str]:
    """The app over an output folder or a tracking URI, as a process of its own on a free port; -> its address."""
    port = free_port()
    command = [sys.executable, "-m", "dashboards", "--server.port", str(port), str(store)]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )

        def said() -> str:
            log.seek(0)
            return log.read()

        try:
            address, until = f"http://127.0.0.1:{port}", time.monotonic() + SECONDS
            while True:
                try:
                    urllib.request.urlopen(f"{address}/_stcore/health", timeout=5).read()
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < until, said()
                    time.sleep(0.2)
            yield address
        finally:
            process.terminate()
            process.wait()
        assert "Traceback" not in said(), said()


@pytest.fixture
def serve() -> Callable:
    """`with serve(store) as address`: the app over a store."""
    return served


@pytest.fixture(scope="session")
def app(store) -> Iterator[str]:
    """The app over the whole store."""
    with served(store) as address:
        yield address


CUT = """() => {
    const main = document.querySelector('[data-testid=stMain]'), found = [];
    const scrolls = (one) => {
        for (; one && one !== main; one = one.parentElement) {
            if (['auto', 'scroll'].includes(getComputedStyle(one).overflowX)) return true;
        }
        return false;
    };
    for (const one of main.querySelectorAll('h1, h2, h3, p, li, pre, code, button, img, video, input, canvas, svg')) {
        const box = one.getBoundingClientRect();
        if (box.width > 1 && box.height > 1 && box.right > window.innerWidth + 1 && !scrolls(one.parentElement)) {
            found.push(`${one.tagName} to ${Math.round(box.right)}: ${(one.innerText || one.alt || '').slice(0, 60)}`);
        }
    }
    for (const one of main.querySelectorAll('pre, [data-testid=stAlert], [data-testid=stMarkdown]')) {
        const style = getComputedStyle(one);
        if (style.overflowX === 'hidden' && one.scrollWidth > one.clientWidth + 1) {
            found.push(`cut: ${one.innerText.slice(0, 60)}`);
        }
    }
    return found;
}"""  # what reaches beyond the window, or is cut, and can not be scrolled to

COUNT_RUNS = """() => {
    window.runs = 0;  // of the page's script: a busy server begins one long after the click that asks for it
    new MutationObserver((changes) => {
        if (changes.some((one) => one.target.dataset.testScriptState == 'running')) window.runs += 1;
    }).observe(document, {subtree: true, attributeFilter: ['data-test-script-state']});
}"""


class Visit:
    """A window on the app, and what its console said."""

    def __init__(self, page: Page, address: str, width: int):
        self.page, self.address, self.width, self.errors = page, address, width, []
        page.set_default_timeout(1000 * SECONDS)
        page.on("console", self._heard)
        page.on("pageerror", self._failed)

    def _failed(self, error: Error) -> None:
        """Keep errors of scripts, but not of a video that Streamlit takes away while it begins to play."""
        if "play() request was interrupted" not in str(error):
            self.errors.append(str(error))

    def _heard(self, message: ConsoleMessage) -> None:
        """Keep errors, but not Streamlit's two of every address below /, by which it finds where it is served."""
        if message.type == "error" and "/_stcore/" not in message.location.get("url", ""):
            self.errors.append(message.text)

    def settle(self) -> None:
        """Wait until the app has nothing left to do; a page of ours never shows an exception, and fits the window."""
        self.page.wait_for_timeout(200)  # a click is on its way
        self.page.wait_for_function(
            "document.querySelector('[data-testid=stApp]')?.dataset.testScriptState == 'notRunning'"
        )
        self.page.wait_for_function("!document.querySelector('[data-testid=stSkeleton], [data-stale=true]')")
        assert self.page.locator("[data-testid=stException]").count() == 0, self.text()
        assert "Traceback" not in self.text()
        wide = self.page.evaluate(
            "[document.documentElement.scrollWidth, document.querySelector('[data-testid=stMain]').scrollWidth]"
        )
        assert max(wide) <= self.width, f"{wide} pixels in a window of {self.width}"
        assert not (cut := self.page.evaluate(CUT)), cut

    def link(self, path: str) -> None:
        """Open an address of the app, as from a bookmark."""
        self.page.goto(f"{self.address}/{path}")
        self.page.locator("[data-testid=stMain] h1").wait_for()
        self.settle()

    def text(self) -> str:
        return self.page.locator("[data-testid=stMain]").inner_text()

    def open(self, title: str) -> None:
        """Go to a page by its link in the sidebar, which narrow windows hide behind a button."""
        if "127.0.0.1" not in self.page.url:
            self.page.goto(self.address)
            self.settle()
        link = self.page.get_by_role("link", name=title, exact=True)
        hidden = self.page.locator("[data-testid=stExpandSidebarButton]")
        if hidden.is_visible():
            hidden.click()
        link.click()
        self.page.get_by_role("heading", name=title, level=1).wait_for()
        if (
            self.width < 1000
            and (close := self.page.locator("[data-testid=stSidebarCollapseButton] button")).is_visible()
        ):
            close.click()
        self.settle()

    def choose(self, label: str, text: str) -> None:
        """Pick the option of a select box that holds the text; another than the present one runs the page's script."""
        box = self.page.get_by_role("combobox", name=label).first
        present = box.input_value()
        box.click()
        box.fill(text)
        runs, option = self.page.evaluate("window.runs"), self.page.get_by_role("option").filter(has_text=text).first
        wanted = " ".join(option.inner_text().split())
        option.click()
        if wanted != " ".join(present.split()):
            expect(box).to_have_value(re.compile(r"\s+".join(map(re.escape, wanted.split()))))
            with suppress(TimeoutError):  # a busy browser may draw a short run only when it has ended
                self.page.wait_for_function(f"window.runs > {runs}", timeout=30_000)
        self.settle()

    def tick(self, row: int) -> None:
        """Choose a row of the page's first table, which is drawn on a canvas: by the box at its left."""
        table = self.page.get_by_test_id("stDataFrame").first
        table.click(position={"x": 16, "y": 35 * (row + 1) + 17})
        self.settle()


@pytest.fixture
def visit(chromium) -> Iterator[Callable[..., Visit]]:
    """`visit(address, width)`: a fresh window; at the end no console may have complained."""
    opened = []

    def make(address: str, width: int = 1280, height: int = 1400) -> Visit:
        context = chromium.new_context(viewport={"width": width, "height": height})
        context.add_init_script(f"({COUNT_RUNS})()")
        opened.append((context, Visit(context.new_page(), address, width)))
        return opened[-1][1]

    yield make
    errors = [error for _, one in opened for error in one.errors]
    for context, _ in opened:
        context.close()
    assert not errors, errors
