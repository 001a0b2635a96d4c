"""Seconds as one of 512 bins, equal steps of ln(1 + seconds) from -0.3 to 6 s (section 3.2)."""

import math

BINS = 512
LEAST, GREATEST = -0.3, 6.0  # seconds; what is beyond is clipped
NO_REST = 79  # decodes to 0 s exactly
_LOW, _HIGH = math.log(1 + LEAST), math.log(1 + GREATEST)


def encode(seconds: float) -> int:
    """The bin, 0 to 511, that is nearest on the logarithmic scale; ValueError of what is no finite number."""
    if not math.isfinite(seconds):
        raise ValueError(f"{seconds} seconds is no duration")
    clipped = min(max(seconds, LEAST), GREATEST)
    return round((BINS - 1) * (math.log1p(clipped) - _LOW) / (_HIGH - _LOW))


def decode(number: int) -> float:
    """Seconds of a bin; ValueError where there is no such bin."""
    if not 0 <= number < BINS:
        raise ValueError(f"bin {number} is not one of 0 to {BINS - 1}")
    return 0.0 if number == NO_REST else math.expm1(_LOW + number * (_HIGH - _LOW) / (BINS - 1))
