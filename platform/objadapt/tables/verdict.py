"""Verdicts on a table's claims from our runs: holds, fails or undecided at the 95 % level.

Every claim is a statement about differences between rows in one metric. The rows were trained with the same seeds and
scored on the same units (validation clips, or annotated sequences), so each seed and unit is its own control. Seeds and
units cross (every seed meets every unit), and both are a sample: the question is whether the claim would hold for other
seeds and other units. The bootstrap therefore resamples both, each independently and with replacement. For the
difference D [S, C] of two rows,

    D_sc = mean + a_s + b_c + rest        a: effects of seeds, b: effects of units, rest: seed and unit together

and a resampled mean deviates from the mean by `k sum_s w_s a_s + r sum_c v_c b_c` with multinomial weights w and v. The
plain crossed bootstrap, w' D v, has k = r = 1 and the rest's own term on top. It is wrong twice here. With few seeds
its seed part is too narrow: called at 2.5 %, equal rows came out "better" in 5 % (5 seeds) to 10 % (2 seeds) of
simulated tables with strong seed effects. And it counts the rest, the largest part of right-or-wrong data, up to three
times (Owen 2007, "The pigeonhole bootstrap"). So:

- `k = sqrt(n / chi2(n - 1))`, drawn anew for each sample, gives a mean of n effects the spread of Student's t, for
  seeds and units alike: the variance of the few is estimated, not known.
- `r^2 = 1 - MS_rest / MS_units` (0 if negative) takes the rest out of the units' means, where the seeds' means hold it
  already; the variance of the mean is then the unbiased one of the two-way layout,
  (MS_seeds + MS_units - MS_rest) / (S C). Two seeds may agree by luck; their mean square counts for MS_rest at the
  least, or equal means of two seeds would leave no spread.

Tests use the deviations around the observed difference (recentred, as a null hypothesis demands), not the percentiles
of the resampled differences: with one seed and 5 of 100 clips that differ, all in favour of one row, an exact sign test
has p = 0.03, deviations give 0.02 and percentiles 0.006.

A metric without units is one number a run. A norm differs from seed to seed, so the seeds alone are resampled. A cost
is the same for every seed, so its rows are compared exactly.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import InputError
from ..metric import Metric
from .claims import Claim

ALPHA = 0.025  # each side of a 95 % interval
# with 5 clips even five wins of five are p = 0.03 in a sign test; resampling so few sees no spread at all
MIN_UNITS = 6
BLOCK = 2**22  # weights drawn at once: 32 MB


@dataclass(frozen=True)
class Verdict:
    """A judged claim; `note` gives the differences with their 95 % intervals in points, or why it is undecided."""

    text: str
    verdict: Literal["holds", "fails", "undecided"]
    p_value: float | None
    note: str


@dataclass(frozen=True)
class _Gain:
    """Part of a claim: the best of `rows` over `reference` (None: over the claim's value) is above the threshold."""

    label: str
    rows: tuple[str, ...]
    reference: str | None


def judge(claim: Claim, scores: dict[str, np.ndarray], samples: int = 10_000, seed: int = 0) -> Verdict:
    """Judge a claim on the scores of its rows.

    Args:
        scores: for each row, [seeds, units] bool or float, as summaries hold them (1 where a clip is right, J&F as a
            share); all rows with the same seeds and the same units in the same order, of a metric without units
            [seeds, 1]. Rows may be missing or have fewer seeds: the verdict is then undecided.
        samples: bootstrap samples, at least 39.
        seed: of the bootstrap.

    Every kind says that some gains, in the metric's unit, are all above a threshold t:

    - better: each row over the next one; t = 0.
    - within: the first row over the second; t = -points (a non-inferiority test).
    - peak: the best of the inner rows over the first row, and over the last row; t = 0.
    - above: each row over the claim's value; t = 0.

    Where less is better, as of costs, a gain is what is saved; above stays above.

    The claim holds if the lower 95 % bounds of all gains are above t, and fails if the upper bound of any gain is below
    t. All bounds have 97.5 % on one side. "holds" is an intersection-union test: it is wrong in at most 2.5 % of cases
    however many gains there are, and its p-value is the largest of theirs (p <= 0.025 exactly where the claim holds).
    "fails" is wrong in at most 2.5 % for each gain, no correction for their number being made, so that the intervals
    shown are the verdict.

    The best inner row of a peak is chosen on the data that it is judged on. The claim is that the maximum over inner
    rows j of mean_j - mean_end is above 0 for both ends (the best inner row then beats both), and its null hypothesis
    for one end is that all differences to that end are <= 0. The largest deviation over j in each bootstrap sample is
    the distribution of the largest difference where all are 0, the worst case of that hypothesis, with the rows'
    correlations kept (a max-type correction, White 2000, "A reality check for data snooping"). The upper bound needs no
    correction: it is the largest of the single upper bounds, which the true maximum exceeds only if the bound of its
    own row is exceeded.

    With one seed only units are resampled, and the note says that the verdict is about that seed. Costs are compared
    without a bootstrap: the claim holds or fails, and has no p-value.

    Raises:
        InputError: fewer than 39 samples, which have no 2.5 % tail.
        ValueError: a row that is not [seeds, units].
    """
    if samples < 39:
        raise InputError(f"samples: {samples} bootstrap samples have no 2.5 % tail; take at least 39")
    reason = _why_undecided(claim, scores)
    if reason:
        return Verdict(claim.text, "undecided", None, reason)
    metric, threshold = claim.metric, -claim.points if claim.points else 0.0
    values: dict[str | None, np.ndarray] = {row: metric.scale * np.asarray(scores[row], float) for row in claim.rows}
    gains = _gains(claim, values)
    values[None] = np.full_like(values[claim.rows[0]], claim.value or 0.0)
    if metric.exact:
        return _compared(claim, gains, {row: float(one.mean()) for row, one in values.items()}, threshold)
    pairs = [(row, gain.reference) for gain in gains for row in gain.rows]
    differences = np.stack([values[row] - values[reference] for row, reference in pairs], axis=-1)  # [S, C, M]
    observed = differences.mean(axis=(0, 1))  # [M]
    deviations = _deviations(differences, samples, np.random.default_rng(seed))  # [samples, M]
    tail = math.floor(ALPHA * (samples + 1) + 1e-9)  # this many of the most extreme samples lie beyond a bound
    notes, p_values, bounds, start = [], [], [], 0
    for gain in gains:
        group = slice(start, start + len(gain.rows))
        start = group.stop
        best = observed[group].max()
        # Rounded, since a tie with the threshold must not be decided by the last bit of a sum.
        least = np.round(best - deviations[:, group].max(axis=1), 9)
        most = np.round(observed[group] - deviations[:, group], 9)
        lower, upper = np.sort(least)[tail - 1], np.sort(most, axis=0)[-tail].max()
        p_values.append((1 + int(np.count_nonzero(least <= threshold))) / (samples + 1))
        bounds.append((lower, upper))
        notes.append(f"{gain.label} {_signed(best)} [{_signed(lower)}, {_signed(upper)}]")
    if all(lower > threshold for lower, _ in bounds):
        verdict = "holds"
    else:
        verdict = "fails" if any(upper < threshold for _, upper in bounds) else "undecided"
    note = f"{_differences_of(metric)}: {', '.join(notes)}{_resampled_alone(metric, differences.shape[0])}"
    return Verdict(claim.text, verdict, max(p_values), note)


def _gains(claim: Claim, values: dict[str, np.ndarray]) -> list[_Gain]:
    if claim.kind == "above":
        return [_Gain(f"{row} over {claim.value:g}", (row,), None) for row in claim.rows]
    first, *inner, last = claim.rows
    if claim.kind != "peak":
        return [
            _Gain(f"{row} over {below}", (row,), below) for row, below in zip(claim.rows, claim.rows[1:], strict=False)
        ]
    best = (max if claim.metric.larger_is_better else min)(inner, key=lambda row: np.mean(values[row]))
    return [_Gain(f"{best} (best inner row) over {end}", tuple(inner), end) for end in (first, last)]


def _compared(claim: Claim, gains: list[_Gain], numbers: dict[str | None, float], threshold: float) -> Verdict:
    """The verdict on exact numbers, one a row; None: the claim's value."""
    sign = 1 if claim.metric.larger_is_better or claim.kind == "above" else -1
    best = [max(sign * (numbers[row] - numbers[gain.reference]) for row in gain.rows) for gain in gains]
    holds = all(round(one, 9) > threshold for one in best)
    said = ", ".join(f"{row} {numbers[row]:.6g}" for row in claim.rows)
    note = f"{claim.metric.title}: {said}; the same for every seed, so compared exactly"
    return Verdict(claim.text, "holds" if holds else "fails", None, note)


def _why_undecided(claim: Claim, scores: dict[str, np.ndarray]) -> str | None:
    """Why rows cannot be compared, or None."""
    missing = [row for row in claim.rows if row not in scores or len(scores[row]) == 0]
    if missing:
        return f"not scored: {', '.join(missing)}"
    shapes = {row: np.shape(scores[row]) for row in claim.rows}
    for row, shape in shapes.items():
        if len(shape) != 2:
            raise ValueError(f"scores[{row!r}]: must be [seeds, units], not of shape {shape}")
    most_seeds = max(seeds for seeds, _ in shapes.values())
    fewer = [f"{row} ({seeds} of {most_seeds})" for row, (seeds, _) in shapes.items() if seeds < most_seeds]
    if fewer:
        return f"fewer seeds than the other rows: {', '.join(fewer)}"
    numbers, units = {row: number for row, (_, number) in shapes.items()}, claim.metric.units
    if len(set(numbers.values())) > 1:
        return f"not the same {units}: {', '.join(f'{row} ({number:,})' for row, number in numbers.items())}"
    number = numbers[claim.rows[0]]
    if units and number < MIN_UNITS:
        return f"{number} {units} decide nothing at the 95 % level; at least {MIN_UNITS} are needed"
    if not units and not claim.metric.exact and most_seeds < 2:
        return "one seed decides nothing about one number a run; at least 2 are needed"
    unscored = [row for row in claim.rows if not np.isfinite(np.asarray(scores[row], float)).all()]
    return f"{units or 'runs'} without a score: {', '.join(unscored)}" if unscored else None


def _differences_of(metric: Metric) -> str:
    """What the differences are, in words: `points of top-1`."""
    return f"points of {metric.label}" if metric.unit == "%" else metric.title


def _resampled_alone(metric: Metric, seeds: int) -> str:
    """What the verdict is no statement about, where only seeds or only units are a sample."""
    if metric.units is None:
        return "; one number a run, so only seeds are resampled: no statement about other data"
    if seeds == 1:
        return f"; one seed, so only {metric.units} are resampled: no statement about other seeds"
    return ""


def _deviations(differences: np.ndarray, samples: int, generator: np.random.Generator) -> np.ndarray:
    """Resampled minus observed means of the differences [S, C, M] -> [samples, M].

    All M share the seeds and units drawn.
    """
    seeds, units, _ = differences.shape
    mean = differences.mean(axis=(0, 1))
    of_units = differences.mean(axis=0) - mean  # [C, M]
    of_seeds = differences.mean(axis=1) - mean  # [S, M]
    if seeds == 1 or units == 1:
        return _resampled(of_units if seeds == 1 else of_seeds, samples, generator)
    rest = differences - mean - of_seeds[:, None] - of_units
    rest_square = np.square(rest).sum(axis=(0, 1)) / ((seeds - 1) * (units - 1))
    unit_square = seeds * np.square(of_units).sum(axis=0) / (units - 1)
    excess = np.maximum(unit_square - rest_square, 0)
    share = np.divide(excess, unit_square, out=np.zeros_like(excess), where=unit_square > 0)
    deviations = _resampled(of_seeds, samples, generator) + np.sqrt(share) * _resampled(of_units, samples, generator)
    # Seed means that agree more than the rest allows agree by luck:
    # what is lacking to the rest's own spread is put back.
    seed_square = units * np.square(of_seeds).sum(axis=0) / (seeds - 1)
    lacking = np.maximum(rest_square - seed_square, 0)
    if lacking.any():
        share = np.divide(lacking, rest_square, out=np.zeros_like(lacking), where=rest_square > 0)
        share *= seeds * units / ((seeds - 1) * (units - 1))  # residuals are smaller than what they are of
        deviations += np.sqrt(share) * _resampled(rest.reshape(seeds * units, -1), samples, generator)
    return deviations


def _resampled(effects: np.ndarray, samples: int, generator: np.random.Generator) -> np.ndarray:
    """Means of n effects [n, M], centred at 0, resampled with replacement, with the tails of t(n - 1)
    -> [samples, M].
    """
    number = len(effects)
    # Equal effects are drawn together: few units differ from all others, and the order of units cannot matter.
    values, counts = np.unique(effects, axis=0, return_counts=True)
    means = np.empty((samples, effects.shape[1]))
    block = max(1, BLOCK // len(values))
    for start in range(0, samples, block):
        size = min(block, samples - start)
        means[start : start + size] = generator.multinomial(number, counts / number, size) @ values / number
    return means * np.sqrt(number / generator.chisquare(number - 1, samples))[:, None]


def _signed(points: float) -> str:
    return f"{round(points, 2) + 0.0:+.2f}"  # + 0.0: no minus before zero
