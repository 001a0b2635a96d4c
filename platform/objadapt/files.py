"""Files that are there whole or not at all, whenever a process is killed or a disk is full."""

import uuid
from pathlib import Path

from .errors import naming


def write_whole(path: Path, content: str | bytes | memoryview) -> None:
    """Write a file, in one step for whoever looks at it; text as UTF-8.

    Raises:
        FullDisk: there is no room; nothing is left behind.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")  # its own, should two jobs write the same
    try:
        with naming(path):
            part.write_bytes(content.encode() if isinstance(content, str) else content)
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)  # of an attempt that failed: a full disk is not to be filled by those
