"""Seeds that agree by luck are no proof: equal means of two seeds must not pass for a difference without any spread."""

import numpy as np
import pytest
from scipy.stats import binomtest

from objadapt.tables.claims import Claim
from objadapt.tables.verdict import judge

BETTER = Claim("a beats b", "better", ("a", "b"))


def lucky(wins: tuple[int, ...], losses: tuple[int, ...], clips: int = 256) -> dict[str, np.ndarray]:
    """Rows of len(wins) seeds that differ in so many clips a seed, never in the same clip twice."""
    a, b, place = np.zeros((len(wins), clips)), np.zeros((len(wins), clips)), 0
    for seed, (won, lost) in enumerate(zip(wins, losses, strict=False)):
        a[seed, place : place + won] = 1
        b[seed, place + won : place + won + lost] = 1
        place += won + lost
    return {"a": a, "b": b}


@pytest.mark.parametrize("wins, losses", [((3, 2), (2, 1)), ((4, 3, 3), (3, 2, 2)), ((20, 21), (15, 16))])
def test_seeds_that_agree_by_luck_decide_nothing(wins, losses):
    """As measured: 5 wins and 3 losses among 256 clips once gave +0.39 [+0.39, +0.39], p < 0.001."""
    verdict = judge(BETTER, lucky(wins, losses))
    assert verdict.verdict == "undecided"
    won, lost = sum(wins), sum(losses)
    assert verdict.p_value > 0.5 * sign_test(won, lost)  # not far more sure than the sign test of the discordant clips


def sign_test(won: int, lost: int) -> float:
    return binomtest(won, won + lost, alternative="greater").pvalue


def test_many_wins_that_agree_are_a_difference():
    assert judge(BETTER, lucky((60, 60), (2, 2))).verdict == "holds"
    assert judge(BETTER, lucky((2, 2), (60, 60))).verdict == "fails"
