"""Which tar shards a pattern stands for: `train-{000000..000009}.tar`, `{a,b}/shard-{0..3}.tar`."""

import re

from ..errors import InputError

SUFFIX = ".tar"  # of a shard; compressed ones cannot be read by ranges
MOST = 100_000  # shards of one pattern
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def expand(pattern: str, field: str) -> list[str]:
    """Every name that a pattern with braces stands for, in order; as many digits as the first number has.

    Raises:
        InputError: braces that hold neither a range such as 000..009 nor names such as a,b; too many names.
    """
    found = _BRACES.search(pattern)
    if not found:
        if "{" in pattern or "}" in pattern:
            raise InputError(f"{field}: a brace of {pattern!r} stands alone; write shard-{{000000..000009}}.tar")
        return [pattern]
    within = _RANGE.fullmatch(found[1])
    if within and int(within[1]) <= int(within[2]) < int(within[1]) + MOST:
        inside = [f"{number:0{len(within[1])}d}" for number in range(int(within[1]), int(within[2]) + 1)]
    elif not within and "," in found[1]:
        inside = found[1].split(",")
    else:
        remedy = f"write {{000000..000009}}, with at most {MOST:,} shards, or {{a,b}}"
        raise InputError(f"{field}: {found[0]} in {pattern!r} is no range; {remedy}")
    rest = expand(pattern[found.end() :], field)
    if len(inside) * len(rest) > MOST:
        raise InputError(f"{field}: {pattern!r} stands for more than {MOST:,} shards; give fewer")
    return [pattern[: found.start()] + one + end for one in inside for end in rest]
