"""What a job is doing now, in one line: on a terminal while it lasts, in a log now and then; and lines that stay."""

import logging
import time

import pytest
from terminals import on_a_terminal

from objadapt.pipeline.schedule import Segment
from objadapt.training import display
from objadapt.training.display import Display, duration
from objadapt.training.epoch_text import epoch_text
from objadapt.training.time_left import TimeLeft


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    monkeypatch.setattr(display, "TICK", 1000.0)  # the thread looks when a test says so
    return Clock(monkeypatch)


def test_a_display_that_was_closed_draws_again(monkeypatch):
    shown = Display()
    for part in ("first", "second"):
        terminal = on_a_terminal(monkeypatch)
        shown(part, 3, 10, "a note")
        shown.close()
        assert part in terminal.getvalue() and "3/10" in terminal.getvalue() and "a note" in terminal.getvalue()
        assert terminal.getvalue().split("\r")[-1].strip() == ""  # off the screen


def test_each_stage_s_time_left_is_its_own(monkeypatch, clock):
    terminal = on_a_terminal(monkeypatch)
    with Display() as show:
        show("encode", 10, 100)
        clock.now += 300
        show("encode", 40, 100)  # 10 s each
        assert terminal.getvalue().endswith("40/100, 10 min left")
        show("epoch 1/2 train", 1, 5)
        assert "left" not in terminal.getvalue().rpartition("\r")[2], "one step tells no rate"
        clock.now += 2
        show("epoch 1/2 train", 2, 5)
        assert terminal.getvalue().rstrip().endswith("2/5, 6 s left")
        clock.now += 1.5
        show("epoch 1/2 train", 2, 5)  # time passes, too, while nothing comes
        assert terminal.getvalue().rstrip().endswith("2/5, 4 s left")


def test_blocks_that_come_at_once_are_no_rate(monkeypatch, clock):
    """Two encoders hand in their first 32 clips together, and then take 40 s for the next."""
    terminal = on_a_terminal(monkeypatch)
    with Display() as show:
        show("extract", 32, 1600)
        clock.now += 0.2
        show("extract", 64, 1600)
        clock.now += 40
        show("extract", 64, 1600)
    assert f"{duration(40 * 1536 / 32)} left" in terminal.getvalue()


def test_what_was_done_before_the_first_news_counts_for_nothing(monkeypatch, clock):
    """A training that goes on at step 500 did those steps in another process."""
    terminal = on_a_terminal(monkeypatch)
    with Display() as show:
        show("epoch 3/9 train", 501, 1000)
        clock.now += 10
        show("epoch 3/9 train", 506, 1000)
    assert f"{duration(494 * 2)} left" in terminal.getvalue()


def test_a_stage_without_a_count_shows_how_long_it_lasts(monkeypatch):
    terminal = on_a_terminal(monkeypatch)
    with Display() as show:
        show.stage("starting Ray")
        time.sleep(1.3)
    assert "\rstarting Ray, 0 s" in terminal.getvalue() and "\rstarting Ray, 1 s" in terminal.getvalue()


def test_a_log_line_makes_way_for_itself(monkeypatch):
    terminal = on_a_terminal(monkeypatch)
    handler = logging.StreamHandler(terminal)
    logging.getLogger().addHandler(handler)
    try:
        with Display() as show:
            show("encode", 1, 10)
            logging.getLogger("objadapt.anything").warning("a clip has no length")
            show.stage("starting Ray")
        lines = terminal.getvalue().splitlines()
        assert "a clip has no length" in [line.rpartition("\r")[2] for line in lines]
        assert not handler.filters
    finally:
        logging.getLogger().removeHandler(handler)


def test_in_a_log_a_stage_has_a_line_when_it_lasts_and_none_comes_twice(monkeypatch, clock, caplog):
    caplog.set_level(logging.INFO)
    with Display() as show:
        for done in range(1, 4):  # short: no line
            show("epoch 1/2 train", done, 3)
            clock.now += 0.5
        show.tell("epoch 1/2: loss 1.0")
        show.stage("starting Ray")
        for _ in range(5):
            clock.now += 8
            show.stage("starting Ray")
        show("encode", 1, 4)
        for done in (2, 3, 4, 4, 4):
            clock.now += 20
            show("encode", done, 4)
    assert [one.getMessage() for one in caplog.records] == [
        "epoch 1/2: loss 1.0",
        "starting Ray, 8 s",
        "starting Ray, 40 s",
        "encode 2/4, 40 s left",
    ]


def test_an_epoch_in_a_line():
    metrics = {"train/total": 1.2344, "train/clips_per_second": 48.12, "train/data_wait_share": 0.031}
    validated = metrics | {"val/top1": 0.52}
    assert epoch_text(3, 60, validated, {"epoch": 2, "top1": 0.56}, "2 min") == (
        "epoch 3/60: loss 1.234, top-1 52.0 %, best 56.0 % (epoch 2), 48.1 clips/s, 3 % waiting, 2 min left"
    )
    assert epoch_text(60, 60, metrics, {}, None) == "epoch 60/60: loss 1.234, 48.1 clips/s, 3 % waiting"
    assert "top-1" not in epoch_text(1, 2, metrics | {"val/top1": float("nan")}, {"epoch": 1, "top1": float("nan")}, "")


def test_the_time_left_of_a_run_counts_what_each_kind_of_step_takes(monkeypatch):
    clock = Clock(monkeypatch)
    left = TimeLeft(
        [Segment("train", 1, 10, skip=8), Segment("val", 1, 3), Segment("train", 2, 10), Segment("val", 2, 3)]
    )
    assert left.seconds() is None
    clock.now += 50  # the start
    left.step("train")
    assert left.seconds() is None
    clock.now += 2
    left.step("train")
    assert left.seconds() == pytest.approx(16 * 2), "validation at the rate of the others, until it was seen"
    for _ in range(3):
        clock.now += 0.5
        left.step("val")
    assert left.seconds() == pytest.approx(10 * 2 + 3 * 0.5)
