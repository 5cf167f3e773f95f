"""The inverse of the beta distribution, which A1111's Beta scheduler takes from scipy."""

from __future__ import annotations

import math

_TINY = 1e-300
_MAX_TERMS = 400
_MAX_ROUNDS = 100


class BetaDistribution:
    """The beta distribution with shape parameters ``alpha`` and ``beta``, both > 0.

    Raises:
        ValueError: a parameter that is not a positive finite number.
    """

    def __init__(self, alpha: float, beta: float) -> None:
        if not (0 < alpha < math.inf and 0 < beta < math.inf):
            raise ValueError(f"alpha {alpha} and beta {beta} must be positive numbers")
        self._alpha = alpha
        self._beta = beta
        self._log_norm = math.lgamma(alpha + beta) - math.lgamma(alpha) - math.lgamma(beta)

    def cdf(self, x: float) -> float:
        """The regularized incomplete beta function I_x(alpha, beta), for 0 <= x <= 1.

        Continued fraction of DLMF 8.17.22, in the half of the range where it converges fast.
        """
        if x <= 0.0 or x >= 1.0:
            return min(max(x, 0.0), 1.0)
        a, b = self._alpha, self._beta
        front = math.exp(self._log_norm + a * math.log(x) + b * math.log1p(-x))
        if x < (a + 1.0) / (a + b + 2.0):
            return front * _continued_fraction(x, a, b) / a
        return 1.0 - front * _continued_fraction(1.0 - x, b, a) / b

    def ppf(self, probability: float) -> float:
        """The x in 0..1 with ``cdf(x) == probability``, to about 1e-14.

        Newton's method in u = x**alpha below the middle of the distribution and in
        u = (1 - x)**beta above it: there the cdf is nearly linear, however steep it is in x.
        """
        if probability <= 0.0 or probability >= 1.0:
            return min(max(probability, 0.0), 1.0)
        middle = self._alpha / (self._alpha + self._beta)
        if probability <= self.cdf(middle):
            return self._lower_ppf(probability)
        mirrored = BetaDistribution(self._beta, self._alpha)
        return 1.0 - mirrored._lower_ppf(1.0 - probability)

    def _lower_ppf(self, probability: float) -> float:
        """`ppf` for a probability below that of the mean."""
        a, b = self._alpha, self._beta
        low, high = 0.0, 1.0
        u = min(probability * a / math.exp(self._log_norm), (a / (a + b)) ** a)
        for _ in range(_MAX_ROUNDS):
            x = u ** (1.0 / a)
            error = self.cdf(x) - probability
            low, high = (low, u) if error > 0.0 else (u, high)
            slope = math.exp(self._log_norm + (b - 1.0) * math.log1p(-x)) / a
            step = error / slope
            following = u - step
            if not low < following < high:
                following = (low + high) / 2.0
            if abs(following - u) <= 1e-15 * u:
                break
            u = following
        return float(u ** (1.0 / a))


def _continued_fraction(x: float, a: float, b: float) -> float:
    """Continued fraction of I_x(a, b) by Lentz's method, without the factor in front."""
    c = 1.0
    d = 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _MAX_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for term in (even, odd):
            d = 1.0 / _away_from_zero(1.0 + term * d)
            c = _away_from_zero(1.0 + term / c)
            value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
