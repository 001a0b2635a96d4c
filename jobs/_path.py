"""The package, where it is not installed: every script here imports this first."""

import sys
from importlib.util import find_spec
from pathlib import Path

if not find_spec("pydantic"):
    print(
        "error: this Python has none of what objadapt needs; call .venv/bin/python, which make setup makes",
        file=sys.stderr,
    )
    sys.exit(2)
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "platform"))
