"""The bar of a job on a terminal."""

import io
import sys

from objadapt.training.progress import Display


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_display_that_was_closed_draws_again(monkeypatch):
    display = Display()
    for part in ("first", "second"):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        display(part, 3, 10, "a note")
        display.close()
        assert part in terminal.getvalue() and "3/10" in terminal.getvalue() and "a note" in terminal.getvalue()
        assert terminal.getvalue().split("\r")[-1].strip() == ""  # off the screen
