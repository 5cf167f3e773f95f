# Copied from translator/schedules/betadist.py by tools/pack_shared.py: edit it there.
"""The inverse of the beta distribution, which A1111's Beta scheduler takes from scipy."""

from __future__ import annotations

import math
from collections.abc import Iterable

_TINY = 1e-300
_MAX_TERMS = 1000
_MAX_ROUNDS = 100


def beta_quantiles(probabilities: Iterable[float], alpha: float, beta: float) -> list[float]:
    """The x in 0..1 at which the beta distribution's cdf reaches each probability, to about 1e-8.

    Raises:
        ValueError: a shape parameter that is not a positive finite number.
    """
    if not (0.0 < alpha < math.inf and 0.0 < beta < math.inf):
        raise ValueError(f"alpha {alpha} and beta {beta} must be positive numbers")
    below = _Tail(alpha, beta)
    above = below if alpha == beta else _Tail(beta, alpha)
    middle = below.cdf(alpha / (alpha + beta))
    return [
        below.quantile(p) if p <= middle else 1.0 - above.quantile(1.0 - p) for p in probabilities
    ]


class _Tail:
    """The lower tail of a beta distribution, up to its mean."""

    def __init__(self, alpha: float, beta: float) -> None:
        self._alpha = alpha
        self._beta = beta
        self._norm = math.exp(math.lgamma(alpha + beta) - math.lgamma(alpha) - math.lgamma(beta))
        self._known: dict[float, float] = {}

    def cdf(self, x: float) -> float:
        """The regularized incomplete beta function I_x(alpha, beta) for 0 < x <= mean.

        Continued fraction of DLMF 8.17.22, which converges fast below the mean.
        """
        a, b = self._alpha, self._beta
        front: float = self._norm * x**a * (1.0 - x) ** b
        return front * _continued_fraction(x, a, b) / a

    def quantile(self, probability: float) -> float:
        """Newton's method in u = x**alpha, in which the cdf is nearly linear however steep in x."""
        if probability <= 0.0:
            return 0.0
        if probability not in self._known:
            self._known[probability] = self._solve(probability)
        return self._known[probability]

    def _solve(self, probability: float) -> float:
        a, b = self._alpha, self._beta
        low, high = 0.0, (a / (a + b)) ** a
        u = min(probability * a / self._norm, high)
        for _ in range(_MAX_ROUNDS):
            x = u ** (1.0 / a)
            error = self.cdf(x) - probability
            low, high = (low, u) if error > 0.0 else (u, high)
            # d cdf / d u = norm / a * (1 - x)**(b - 1); the second term is Halley's correction.
            step = error * a / (self._norm * (1.0 - x) ** (b - 1.0))
            bend = -(b - 1.0) / (1.0 - x) * x ** (1.0 - a) / a
            following = u - step / (1.0 - 0.5 * step * bend)
            if not low <= following <= high:
                following = (low + high) / 2.0
            if abs(following - u) <= 1e-6 * u:
                return float(following ** (1.0 / a))
            u = following
        return float(u ** (1.0 / a))


def _continued_fraction(x: float, a: float, b: float) -> float:
    """The fraction of DLMF 8.17.22 by Lentz's method."""
    c = 1.0
    d = 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _MAX_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        d = 1.0 / _away_from_zero(1.0 + even * d)
        c = _away_from_zero(1.0 + even / c)
        value *= c * d
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        d = 1.0 / _away_from_zero(1.0 + odd * d)
        c = _away_from_zero(1.0 + odd / c)
        value *= c * d
        if abs(c * d - 1.0) < 1e-14:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
