"""Pictures of every page for the docs, of a store of your own in which these were run on toy data:

python jobs/reproduce.py --table losses --dataset toy --seeds 2
python jobs/sweep.py search_spaces/temperature_margin.yaml --config jobs/configs/toy.yaml --trials 8
python jobs/sweep.py search_spaces/architecture.yaml --sampler nsga2 --config jobs/configs/toy.yaml --trials 8
OBJADAPT_STORE=outputs OBJADAPT_SCREENSHOTS=docs/dashboard python -m pytest tests/browser -k screenshots
"""

import os
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

pytestmark = pytest.mark.slow
BYTES = 250_000


@pytest.fixture
def shoot(serve, visit):
    """`shoot(title, name, height, prepare)`: a page, prepared, as a picture.

    Skips where no store and no folder are named.
    """
    store, folder = os.environ.get("OBJADAPT_STORE"), os.environ.get("OBJADAPT_SCREENSHOTS")
    if not (store and folder):
        pytest.skip("OBJADAPT_STORE and OBJADAPT_SCREENSHOTS name no store and no folder for pictures")
    store, folder = Path(store).absolute(), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with serve(store) as address:

        def take(title: str, name: str, height: int, prepare=None) -> None:
            window = visit(address, 1280, height)
            window.open(title)
            part = prepare(window, store) if prepare else None
            window.settle()
            window.page.wait_for_timeout(3000)  # charts grow into place
            path = folder / name
            (part or window.page).screenshot(path=path)
            with Image.open(path) as picture:  # all its colours: they name the slots
                picture.convert("RGB").save(path, optimize=True)
            assert path.stat().st_size < BYTES, path

        yield take


def test_screenshots(shoot):
    shoot("Overview", "overview.png", 1150)
    shoot("Tables", "tables.png", 1150, table)
    shoot("Sweep", "sweep.png", 1150, architecture)
    shoot("Sweep", "contour.png", 1900, contour)
    shoot("Objects", "objects.png", 1400, objects)
    shoot("Runs", "runs.png", 1150, runs)
    shoot("Classes", "classes.png", 1150)
    shoot("Upload", "upload.png", 1000, upload)


def table(window, store) -> None:
    window.choose("Table", "losses")


def architecture(window, store) -> None:
    window.choose("Sweep", "architecture")


def contour(window, store):
    window.choose("Sweep", "temperature_margin")
    return window.page.get_by_test_id("stPlotlyChart").last  # tau x margin


def objects(window, store) -> None:
    window.choose("Run", "distillation.weight-0.0_temporal.weight-0.0-seed0")
    window.choose("Soft attention of", "slot 1")
    window.page.get_by_role("slider").first.focus()
    for _ in range(8):
        window.page.keyboard.press("ArrowRight")


def runs(window, store) -> None:
    for row in range(3):
        window.tick(row)


def upload(window, store) -> None:
    window.choose("Run", "base-seed0")
    clips = pd.read_parquet(next(store.glob("runs/base-seed0*/manifest/manifest.parquet")))
    window.page.locator("input[type=file]").set_input_files(clips.loc[clips["split"] == "val", "path"].iloc[4])
    window.page.get_by_text("each pixel to its strongest slot").wait_for()
