"""How much memory one video may take, since a broken or hostile file makes its decoder ask for any amount."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = 4 * 2**30  # bytes that decoding a file may add to its process


@contextmanager
def bounded_memory(more: int = MEMORY) -> Iterator[None]:
    """Within the block this process gets at most `more` bytes beyond those it has, else a `MemoryError`."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)  # the process may be used again
