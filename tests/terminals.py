"""A terminal in the place of standard error."""

import io
import sys


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_a_terminal(monkeypatch) -> Terminal:
    """For the rest of a test; pytest takes what a fixture puts there away again."""
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    return shown
