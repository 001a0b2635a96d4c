"""Options that are whole numbers."""

import argparse

from objadapt.errors import InputError

MOST = 2**63 - 1  # what torch takes as a seed


def check_whole_numbers(arguments: argparse.Namespace, **least: int) -> None:
    """InputError for an option, named by its keyword, below its least value or too large."""
    for name, low in least.items():
        if not low <= getattr(arguments, name) <= MOST:
            raise InputError(f"--{name}: {getattr(arguments, name)}; give a number from {low} to {MOST}")
