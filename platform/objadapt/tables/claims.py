"""Claims that the paper draws from a table, judged on our runs: holds, fails or undecided at the 95 % level.

Every claim is a statement about differences in top-1 between rows that were trained with the same seeds and scored on
the same validation clips, so each seed and clip is its own control. Seeds and clips cross (every seed meets every
clip), and both are a sample: the question is whether the claim would hold for other seeds and other clips. The
bootstrap therefore resamples both, each independently and with replacement. For the difference D [S, C] of two rows,

    D_sc = mean + a_s + b_c + rest        a: effects of seeds, b: effects of clips, rest: seed and clip together

and a resampled mean deviates from the mean by `k sum_s w_s a_s + r sum_c v_c b_c` with multinomial weights w and v. The
plain crossed bootstrap, w' D v, has k = r = 1 and the rest's own term on top. It is wrong twice here. With few seeds
its seed part is too narrow: called at 2.5 %, equal rows came out "better" in 5 % (5 seeds) to 10 % (2 seeds) of
simulated tables with strong seed effects. And it counts the rest, the largest part of right-or-wrong data, up to three
times (Owen 2007, "The pigeonhole bootstrap"). So:

- `k = sqrt(n / chi2(n - 1))`, drawn anew for each sample, gives a mean of n effects the spread of Student's t, for
  seeds and clips alike: the variance of the few is estimated, not known.
- `r^2 = 1 - MS_rest / MS_clips` (0 if negative) takes the rest out of the clips' means, where the seeds' means hold it
  already; the variance of the mean is then the unbiased one of the two-way layout,
  (MS_seeds + MS_clips - MS_rest) / (S C). Two seeds may agree by luck; their mean square counts for MS_rest at the
  least, or equal means of two seeds would leave no spread.

Tests use the deviations around the observed difference (recentred, as a null hypothesis demands), not the percentiles
of the resampled differences: with one seed and 5 of 100 clips that differ, all in favour of one row, an exact sign test
has p = 0.03, deviations give 0.02 and percentiles 0.006.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ..errors import InputError

ALPHA = 0.025  # each side of a 95 % interval
# with 5 clips even five wins of five are p = 0.03 in a sign test; resampling so few sees no spread at all
MIN_CLIPS = 6
BLOCK = 2**22  # weights drawn at once: 32 MB

Kind = Literal["better", "within", "peak"]
FEWEST = {"better": 2, "within": 2, "peak": 3}


@dataclass(frozen=True)
class Claim:
    """A claim on the rows of a table; `points` is the margin of "within" in percentage points."""

    text: str
    kind: Kind
    rows: tuple[str, ...]
    points: float | None = None


@dataclass(frozen=True)
class Verdict:
    """A judged claim; `note` gives the differences with their 95 % intervals in points, or why it is undecided."""

    text: str
    verdict: Literal["holds", "fails", "undecided"]
    p_value: float | None
    note: str


@dataclass(frozen=True)
class _Gain:
    """Part of a claim: the best of `rows` over `reference` is more than the claim's threshold."""

    label: str
    rows: tuple[str, ...]
    reference: str


def parse_claims(entries: list[dict], row_names: list[str], source: str) -> list[Claim]:
    """Claims of a table's YAML; see `judge` for the kinds.

    Raises:
        InputError: an unknown or missing key, kind or row, too few rows or one twice, a margin missing or out of place.
    """
    if not isinstance(entries, list):
        raise InputError(f"{source}: claims: must be a list; begin each claim with a dash")
    return [_parse(entry, row_names, f"{source}: claims[{number}]") for number, entry in enumerate(entries)]


def _parse(entry: dict, row_names: list[str], where: str) -> Claim:
    known = ("text", "kind", "rows", "points")
    if not isinstance(entry, dict):
        raise InputError(f"{where}: must be a mapping of {', '.join(known)}, not {entry!r}")
    text, kind, rows, points = (entry.get(key) for key in known)
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{where}.text: missing or not text; give the claim in words")
    where = f"{where} {text!r}"
    for key in entry:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}; known keys are {', '.join(known)}")
    if kind not in get_args(Kind):
        raise InputError(f"{where}: kind: {kind!r} is not one of {', '.join(get_args(Kind))}")
    _check_rows(rows, kind, row_names, where)
    if kind != "within":
        if points is not None:
            raise InputError(f"{where}: points: only kind within has a margin; remove it")
        return Claim(text, kind, tuple(rows))
    if len(rows) > 2:
        raise InputError(f"{where}: rows: within compares two rows, not {len(rows)}; write a claim for each pair")
    if isinstance(points, bool) or not isinstance(points, (int, float)) or not 0 < points < 100:
        raise InputError(
            f"{where}: points: {points!r} is no margin; give percentage points, more than 0 and less than 100"
        )
    return Claim(text, kind, tuple(rows), float(points))


def _check_rows(rows: object, kind: Kind, row_names: list[str], where: str) -> None:
    """Refuse what is no list of enough different rows of the table."""
    if not isinstance(rows, list):
        raise InputError(f"{where}: rows: must be a list of rows of the table, not {rows!r}")
    for row in rows:
        if row not in row_names:
            raise InputError(
                f"{where}: rows: no row {row!r} in the table; its rows are {', '.join(map(repr, row_names))}"
            )
        if rows.count(row) > 1:
            raise InputError(f"{where}: rows: {row!r} stands twice; a row cannot be compared with itself")
    if len(rows) < FEWEST[kind]:
        raise InputError(f"{where}: rows: {kind} needs at least {FEWEST[kind]} rows, not {len(rows)}")


def judge(claim: Claim, correct: dict[str, np.ndarray], samples: int = 10_000, seed: int = 0) -> Verdict:
    """Judge a claim on the clips that each row got right.

    Args:
        correct: for each row, [seeds, clips] bool or float, 1 where the clip is right at top-1; all rows with the same
            seeds and the same clips in the same order. Rows may be missing or have fewer seeds: the verdict is then
            undecided.
        samples: bootstrap samples, at least 39.
        seed: of the bootstrap.

    Every kind says that some gains, in points, are all above a threshold t:

    - better: each row over the next one; t = 0.
    - within: the first row over the second; t = -points (a non-inferiority test).
    - peak: the best of the inner rows over the first row, and over the last row; t = 0.

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

    With one seed only clips are resampled, and the note says that the verdict is about that seed.

    Raises:
        InputError: fewer than 39 samples, which have no 2.5 % tail.
        ValueError: a row that is not [seeds, clips].
    """
    if samples < 39:
        raise InputError(f"samples: {samples} bootstrap samples have no 2.5 % tail; take at least 39")
    reason = _why_undecided(claim, correct)
    if reason:
        return Verdict(claim.text, "undecided", None, reason)
    threshold = -claim.points if claim.kind == "within" else 0.0
    gains = _gains(claim, correct)
    pairs = [(row, gain.reference) for gain in gains for row in gain.rows]
    points = {row: 100 * np.asarray(correct[row], float) for row in claim.rows}
    differences = np.stack([points[row] - points[reference] for row, reference in pairs], axis=-1)  # [S, C, M]
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
    alone = (
        "; one seed, so only clips are resampled: no statement about other seeds" if differences.shape[0] == 1 else ""
    )
    return Verdict(claim.text, verdict, max(p_values), f"points: {', '.join(notes)}{alone}")


def _gains(claim: Claim, correct: dict[str, np.ndarray]) -> list[_Gain]:
    first, *inner, last = claim.rows
    if claim.kind != "peak":
        return [
            _Gain(f"{row} over {below}", (row,), below) for row, below in zip(claim.rows, claim.rows[1:], strict=False)
        ]
    best = max(inner, key=lambda row: np.mean(correct[row]))
    return [_Gain(f"{best} (best inner row) over {end}", tuple(inner), end) for end in (first, last)]


def _why_undecided(claim: Claim, correct: dict[str, np.ndarray]) -> str | None:
    """Why rows cannot be compared, or None."""
    missing = [row for row in claim.rows if row not in correct or len(correct[row]) == 0]
    if missing:
        return f"not trained: {', '.join(missing)}"
    shapes = {row: np.shape(correct[row]) for row in claim.rows}
    for row, shape in shapes.items():
        if len(shape) != 2:
            raise ValueError(f"correct[{row!r}]: must be [seeds, clips], not of shape {shape}")
    most_seeds = max(seeds for seeds, _ in shapes.values())
    fewer = [f"{row} ({seeds} of {most_seeds})" for row, (seeds, _) in shapes.items() if seeds < most_seeds]
    if fewer:
        return f"fewer seeds than the other rows: {', '.join(fewer)}"
    clips = {row: number for row, (_, number) in shapes.items()}
    if len(set(clips.values())) > 1:
        return f"not the same validation clips: {', '.join(f'{row} ({number:,})' for row, number in clips.items())}"
    if clips[claim.rows[0]] < MIN_CLIPS:
        return (
            f"{clips[claim.rows[0]]} validation clips decide nothing at the 95 % level; at least {MIN_CLIPS} are needed"
        )
    unscored = [row for row in claim.rows if not np.isfinite(np.asarray(correct[row], float)).all()]
    return f"clips without a score: {', '.join(unscored)}" if unscored else None


def _deviations(differences: np.ndarray, samples: int, generator: np.random.Generator) -> np.ndarray:
    """Resampled minus observed means of the differences [S, C, M] -> [samples, M].

    All M share the seeds and clips drawn.
    """
    seeds, clips, _ = differences.shape
    mean = differences.mean(axis=(0, 1))
    of_clips = differences.mean(axis=0) - mean  # [C, M]
    if seeds == 1:
        return _resampled(of_clips, samples, generator)
    of_seeds = differences.mean(axis=1) - mean  # [S, M]
    rest = differences - mean - of_seeds[:, None] - of_clips
    rest_square = np.square(rest).sum(axis=(0, 1)) / ((seeds - 1) * (clips - 1))
    clip_square = seeds * np.square(of_clips).sum(axis=0) / (clips - 1)
    excess = np.maximum(clip_square - rest_square, 0)
    share = np.divide(excess, clip_square, out=np.zeros_like(excess), where=clip_square > 0)
    deviations = _resampled(of_seeds, samples, generator) + np.sqrt(share) * _resampled(of_clips, samples, generator)
    # Seed means that agree more than the rest allows agree by luck:
    # what is lacking to the rest's own spread is put back.
    seed_square = clips * np.square(of_seeds).sum(axis=0) / (seeds - 1)
    lacking = np.maximum(rest_square - seed_square, 0)
    if lacking.any():
        share = np.divide(lacking, rest_square, out=np.zeros_like(lacking), where=rest_square > 0)
        share *= seeds * clips / ((seeds - 1) * (clips - 1))  # residuals are smaller than what they are of
        deviations += np.sqrt(share) * _resampled(rest.reshape(seeds * clips, -1), samples, generator)
    return deviations


def _resampled(effects: np.ndarray, samples: int, generator: np.random.Generator) -> np.ndarray:
    """Means of n effects [n, M], centred at 0, resampled with replacement, with the tails of t(n - 1)
    -> [samples, M].
    """
    number = len(effects)
    # Equal effects are drawn together: few clips differ from all others, and the order of clips cannot matter.
    values, counts = np.unique(effects, axis=0, return_counts=True)
    means = np.empty((samples, effects.shape[1]))
    block = max(1, BLOCK // len(values))
    for start in range(0, samples, block):
        size = min(block, samples - start)
        means[start : start + size] = generator.multinomial(number, counts / number, size) @ values / number
    return means * np.sqrt(number / generator.chisquare(number - 1, samples))[:, None]


def _signed(points: float) -> str:
    return f"{round(points, 2) + 0.0:+.2f}"  # + 0.0: no minus before zero
