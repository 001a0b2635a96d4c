"""Every page of the results app in Chromium, over a store that real jobs made: the controls,
wide and narrow windows.
"""

import re
import tempfile
from pathlib import Path

import optuna
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow
PAGES = ("Overview", "Tables", "Runs", "Objects", "Classes", "Sweep", "Upload")
WIDTHS = (1280, 800, 400)


@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_fits_has_the_products_name_and_says_nothing_of_errors(app, visit, width):
    window = visit(app, width)
    for title in PAGES:
        window.open(title)
        assert window.page.get_by_test_id("stAlertContentError").count() == 0, window.text()
        names = window.page.locator("[data-testid=stHeaderLogo], [data-testid=stSidebarLogo]")
        assert any(one.is_visible() for one in names.all()), f"no name on {title}"
        assert window.page.title() == f"{title} - objadapt"


def test_pages_have_addresses_and_the_sidebar_folds(app, visit):
    window = visit(app, 800)
    for title in PAGES[1:]:
        window.link(title.lower())
        expect(window.page.get_by_role("heading", name=title, level=1)).to_be_visible()
        assert window.page.get_by_text("Page not found").count() == 0
    window.page.locator("[data-testid=stSidebarCollapseButton] button").click()
    expect(window.page.locator("[data-testid=stExpandSidebarButton]")).to_be_visible()
    expect(window.page.get_by_role("link", name="Tables", exact=True)).not_to_be_in_viewport()


def test_the_overview_leads_to_the_best_run(app, visit):
    window = visit(app)
    window.link("")
    expect(window.page.get_by_text("Newest runs")).to_be_visible()
    assert re.search(r"slots \(tiny\)\s+2 rows; claims: 1 \w", window.text()), window.text()
    assert window.page.get_by_test_id("stImage").count() >= 1, "a strip of objects"
    heads = re.findall(r"Best on .*", window.text())
    assert len(heads) == 2 and "data.holdout=0.0" in heads[0], "a sweep's trials, judged on held-out clips, stand apart"
    window.page.get_by_role("link", name="Its objects").first.click()
    window.page.get_by_role("heading", name="Objects", level=1).wait_for()
    window.settle()


def test_a_link_to_a_table_opens_it(app, visit):
    window = visit(app)
    window.link("tables?table=half (tiny)")
    expect(window.page.get_by_text("1 of 2 rows are not whole")).to_be_visible()


def test_a_table_beside_the_papers_with_claims_and_exports(app, visit, store):
    window = visit(app)
    window.open("Tables")
    window.choose("Table", "slots (tiny)")
    expect(window.page.get_by_text("three slots beat two")).to_be_visible()
    text = window.text()
    assert "toy numbers" in text and "three slots beat two" in text and "undecided" in text
    expect(window.page.get_by_test_id("stPlotlyChart")).to_be_visible()
    for name, suffix in (("Markdown", "md"), ("LaTeX", "tex"), ("CSV", "csv")):
        with window.page.expect_download() as download:
            window.page.get_by_role("button", name=name, exact=True).click()
        written = (store / "tables" / "tiny" / f"slots.{suffix}").read_text()
        assert download.value.path().read_text() == written, "the file that jobs/reproduce.py wrote"


def test_a_row_leads_to_mlflow_and_a_vanished_server_is_told(app, visit):
    window = visit(app)
    window.open("Tables")
    window.choose("Table", "slots (tiny)")
    window.tick(1)
    window.page.get_by_role("textbox", name="MLflow server").fill("http://127.0.0.1:9")
    window.page.keyboard.press("Enter")
    expect(window.page.get_by_text("Runs of row 3-slots")).to_be_visible()
    expect(window.page.get_by_text("no MLflow answers at http://127.0.0.1:9")).to_be_visible()
    assert re.search(r"mlflow ui --backend-store-uri \S+ --host 127\.0\.0\.1 --port 5000", window.text())


def test_a_table_half_done_and_one_just_begun_say_what_is_missing(app, visit):
    window = visit(app)
    window.open("Tables")
    window.choose("Table", "half (tiny)")
    expect(window.page.get_by_text("1 of 2 rows are not whole")).to_be_visible()
    text = window.text()
    assert "later: missing" in text and "jobs/reproduce.py" in text
    window.choose("Table", "begun (tiny)")
    expect(window.page.get_by_text("none of it is written yet")).to_be_visible()


def test_a_sweep_and_trials_that_come_while_it_is_looked_at(app, visit, store):
    window = visit(app)
    window.open("Sweep")
    expect(window.page.get_by_text("Trials: 4 complete")).to_be_visible()
    for title in (
        "Optimisation history",
        "top1 against cost",
        "Slices",
        "Parallel coordinates; dark lines are the best",
    ):
        expect(window.page.get_by_text(title, exact=True).first).to_be_visible()
    expect(window.page.get_by_text("Parameter importance needs 20 complete trials, 10 a parameter; 4")).to_be_visible()
    contour = "A contour of distillation.slot_temperature and temporal.margin needs 9"  # tau x margin
    expect(window.page.get_by_text(contour)).to_be_visible()
    window.page.get_by_text("Follow (look again").click()
    (folder,) = (store / "sweeps").iterdir()
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{folder / 'study.db'}")
    better = study.trials[0]
    better.value += 0.5  # so small trials may all be equally good, and then no parameter matters
    for number in range(16):
        study.add_trial(study.trials[number % 4] if number else better)
    expect(window.page.get_by_text("Trials: 20 complete")).to_be_visible()
    importance = window.page.get_by_test_id("stPlotlyChart").filter(has_text="Parameter importance (fANOVA)")
    expect(importance.get_by_text("distillation.slot_temperature", exact=True)).to_be_visible()
    expect(importance.get_by_text("temporal.margin", exact=True)).to_be_visible()
    assert importance.locator(".bars path").count() == 2, "a bar for each"
    expect(window.page.get_by_text("distillation.slot_temperature x temporal.margin", exact=True)).to_be_visible()


def test_objects_of_a_run_by_keyboard_and_of_two_side_by_side(app, visit):
    window = visit(app)
    window.open("Objects")
    window.choose("Run", "seed0")
    right = re.search(r"(\d+) of 16 clips are right", window.text())
    assert right, "how many are right is said"
    video = chosen_video(window).input_value()
    assert (": right," in video) == (int(right[1]) > 0), f"the page opens on a clip that it gets right, not on {video}"
    player = window.page.locator("video")
    window.page.wait_for_function("document.querySelector('video')?.readyState >= 2")
    assert window.page.evaluate("document.querySelector('video').videoWidth") > 100, "it plays"
    for name, suffix in (("Save overlay", ".mp4"), ("Save masks", ".zip")):
        with window.page.expect_download() as download:
            window.page.get_by_role("button", name=name).click()
        assert download.value.suggested_filename.endswith(suffix) and download.value.path().stat().st_size > 100
    picture = window.page.get_by_test_id("stImage").filter(has_text="frame at").locator("img")
    first = picture.get_attribute("src")
    window.page.get_by_role("slider", name="Frame").focus()
    for _ in range(3):
        window.page.keyboard.press("ArrowRight")
    window.settle()
    expect(picture).not_to_have_attribute("src", first)  # another frame
    window.choose("Soft attention of", "slot 2")
    expect(window.page.get_by_text("slot 2, soft: full colour at")).to_be_visible()
    expect(window.page.get_by_text("State change of each object")).to_have_count(1)
    expect(window.page.get_by_text("Answer to the clip up to each moment")).to_be_visible()
    window.choose("Compare with", "slots.number-2")
    expect(player).to_have_count(2)
    expect(window.page.get_by_text("State change of each object")).to_have_count(2)


def chosen_video(window):
    """The input that shows which video the Objects page is on."""
    return window.page.get_by_test_id("stSelectbox").filter(has_text="Video").last.locator("input")


def test_a_clip_is_chosen_in_the_grid_and_filters_keep_what_they_say(app, visit):
    window = visit(app)
    window.open("Objects")
    cards = window.page.locator("[class*=st-key-card-clip]")
    expect(cards).to_have_count(12)
    name = cards.nth(1).inner_text().strip()
    cards.nth(1).get_by_role("button").click()
    window.settle()
    expect(chosen_video(window)).to_have_value(re.compile(f"^{name}:"))  # waits: a busy machine draws it late
    assert f"clip={name}" in window.page.url, "the clip can be linked to"
    window.choose("Verdict", "wrong")
    wrong = 16 - int(re.search(r"(\d+) of 16 clips are right", window.text())[1])
    expect(cards).to_have_count(min(12, wrong))


def test_annotated_sequences_come_with_their_scores(app, visit):
    window = visit(app)
    window.open("Objects")
    window.choose("Run", "slots.number-2")
    window.choose("Videos", "annotated sequences")
    expect(window.page.get_by_text("objects of 2 sequences")).to_be_visible()
    window.settle()
    expect(window.page.get_by_text("annotated objects; colours are not slots")).to_be_visible()
    window.page.get_by_text("Soft attention of all slots over time").click()
    expect(window.page.get_by_alt_text("attention of each slot over time")).to_be_visible()
    cards = window.page.locator("[class*=st-key-card-sequence]")
    whole, kept = cards.count(), []
    for quarter in ("0 to 25 %", "25 to 50 %", "50 to 75 %", "75 to 100 %"):
        window.choose("J&F", quarter)
        expect(window.page.get_by_text("J&F").first).to_be_visible()
        told = re.findall(r"^J&F ([\d.]+) %$", window.text(), re.MULTILINE)
        kept += told
        assert all(float(quarter.split()[0]) <= float(one) <= float(quarter.split()[2]) for one in told)
        assert bool(told) != ("No sequence is like that" in window.text())
    assert len(kept) == whole == 2, "each sequence is in one quarter"


def test_a_class_leads_to_its_clips_and_a_clip_to_its_objects(app, visit):
    window = visit(app)
    window.open("Classes")
    expect(window.page.get_by_text("True class (rows) and answer (columns)")).to_be_visible()
    window.tick(0)
    cards = window.page.locator("[class*=st-key-card-classes]")
    name = cards.first.inner_text().strip()
    cards.first.get_by_role("button").click()
    window.page.get_by_role("heading", name="Objects", level=1).wait_for()
    window.settle()
    expect(chosen_video(window)).to_have_value(re.compile(f"^{name}:"))
    assert "true=" in window.page.url


def test_curves_of_chosen_runs_and_their_quarantine(app, visit):
    window = visit(app)
    window.open("Runs")
    for title in ("Training loss", "Validation accuracy", "Share of time that training waited for data", "Throughput"):
        expect(window.page.get_by_text(title, exact=True)).to_be_visible()
    window.tick(0)
    window.tick(1)
    window.page.get_by_text("Loss by step, not by epoch").click()
    window.settle()
    expect(window.page.get_by_text("Quarantined clips")).to_be_visible()
    assert "could be read" not in window.text(), "a video of the store is broken"


def test_upload_shows_objects_or_the_reason_of_a_refusal(app, visit, store):
    window = visit(app, 800)
    window.open("Upload")
    window.choose("Run", "seed0")
    given = window.page.locator("input[type=file]")
    given.set_input_files(str(store.parent / "toy" / "videos" / "1000000.mp4"))
    expect(window.page.get_by_text("each pixel to its strongest slot")).to_be_visible()
    window.settle()
    expect(window.page.get_by_text("Answer to the clip up to each moment")).to_be_visible()
    window.page.get_by_role("button", name=re.compile("Remove|Delete")).first.click()
    window.settle()
    given.set_input_files({"name": "evil*.mp4", "mimeType": "video/mp4", "buffer": b"#EXTM3U\nfile:///etc/passwd\n"})
    expect(window.page.get_by_text("evil*.mp4: open:")).to_be_visible()
    assert "quarantine" in window.text() and not list(Path(tempfile.gettempdir()).glob("objadapt-upload-*"))


def test_tables_and_runs_of_an_mlflow_store(serve, visit, store):
    with serve(f"sqlite:///{store}/mlflow.db") as address:
        window = visit(address, 800)
        window.open("Tables")
        window.choose("Table", "slots (tiny)")
        expect(window.page.get_by_text("three slots beat two")).to_be_visible()
        window.open("Runs")
        for title in ("Training loss", "Validation accuracy", "Share of time that training waited for data"):
            expect(window.page.get_by_text(title, exact=True)).to_be_visible()
        for title in ("Sweep", "Objects", "Classes", "Upload"):
            window.open(title)
            expect(window.page.get_by_text("in an output folder, not in MLflow")).to_be_visible()
            assert "make dashboard STORE=outputs" in window.text()
