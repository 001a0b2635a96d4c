"""Messages of strangers' files: one line, no terminal codes, whatever the names in them are."""

import logging
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from objadapt.errors import InputError, printable

REPOSITORY = Path(__file__).resolve().parents[1]
CODES = {
    "plain": ("a b.mp4", "a b.mp4"),
    "umlauts and other scripts": ("Größe 視頻 é", "Größe 視頻 é"),
    "colour": ("\x1b[31mred\x1b[0m", "red"),
    "colour of 24 bits": ("\x1b[38;2;1;2;3mred\x1b[m", "red"),
    "cursor and screen": ("\x1b[2J\x1b[1;1Hx\x1b[?25l", "x"),
    "title": ("\x1b]0;evil\x07name", "name"),
    "link": ("\x1b]8;;http://x\x1b\\name\x1b]8;;\x1b\\", "name"),
    "device control": ("a\x1bPq#0\x1b\\b", "ab"),
    "one-byte forms": ("\x9b31mred\x9d0;t\x9cx", "redx"),
    "a title that never ends": ("name\x1b]0;evil", "name"),
    "reset": ("\x1bcname\x1b(B", "name"),
    "carriage return": ("safe\rover", "safe over"),
    "lines": ("a\nb\r\nc\u2028d", "a b  c d"),
    "backspace and bell": ("a\x08\x07b\x00", "a\ufffd\ufffdb\ufffd"),
    "direction": ("a\u202egnp.exe", "a\ufffdgnp.exe"),
    "half a character": ("a\udce9b", "a\ufffdb"),
    "escape alone": ("a\x1b", "a\ufffd"),
}


@pytest.mark.parametrize("case", CODES)
def test_printable(case):
    text, shown = CODES[case]
    assert printable(text) == shown and printable(text).isprintable()


def test_an_input_error_is_printable_and_crosses_processes():
    error = InputError("data.root: \x1b[31mred\nname")
    assert str(error) == "data.root: red name" and str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("raised", ["InputError({name!r})", "FullDisk({name!r})"])
def test_a_job_prints_no_terminal_codes(raised):
    """Neither in its error nor in its log."""
    name = "/data/\x1b[31mred\x1b]0;t\x07.mp4"
    body = f"import logging\nlogging.getLogger('x').warning('%s is broken', {name!r})\nraise {raised.format(name=name)}"
    code = f"import sys; sys.path.insert(0, {str(REPOSITORY / 'platform')!r})\nfrom objadapt import job\n"
    code += (
        "from objadapt.errors import FullDisk, InputError\ndef main():\n"
        + textwrap.indent(body, "    ")
        + "\njob.run(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and "\x1b" not in done.stderr and "\x07" not in done.stderr
    assert done.stderr.count("/data/red.mp4") == 2 and done.stderr.count("\n") == 2


def test_a_logged_traceback_keeps_its_lines():
    from objadapt.job import _Printable

    record = logging.LogRecord("x", logging.ERROR, "f", 1, "two\nlines \x1b[31mred", (), None)
    assert _Printable("%(message)s").format(record) == "two\nlines red"
