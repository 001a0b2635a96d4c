"""`objadapt export` as a script, for a checkout that is not installed and for `ray job submit`."""

import _path  # noqa: F401

from objadapt.commands import run

if __name__ == "__main__":
    run("export")
