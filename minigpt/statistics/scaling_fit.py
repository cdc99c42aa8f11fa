"""Fits a scaling law to finished runs.

As Besiroglu et al., 2024, "Chinchilla Scaling: A replication attempt" (arXiv:2404.10102) mend
Hoffmann's approach 3: the Huber losses of the runs' log losses are summed, not averaged, the
optimizer goes on until nothing improves, and it starts from many places.

Shapes: R runs, S resamples, P problems (starts of resamples), 5 parameters (log A, log B, log E,
alpha, beta).
"""

import itertools
import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from minigpt.statistics.scaling_law import Runs, ScalingLaw, Values

HUBER = 1e-3  # of the log loss: beyond it a run pulls with constant force, so outliers bend little
STEPS = 1000  # of the optimizer, at most; where runs need no E, it falls for ever
TOLERANCE = 1e-9  # relative; a smaller improvement is none
LONGEST_STEP = 2.0  # of a parameter
STEEPEST = 10.0  # exponent; where a few runs fall off a cliff, its factor still fits a float


def fit_law(runs: Runs) -> ScalingLaw:
    """The law that fits best, from a grid of starts.

    At least three sizes, three numbers of tokens and six runs tell its parameters apart.
    """
    problem = _Problem(runs)
    counts = np.ones((1, len(runs.losses)))
    return problem.law(problem.best(counts, problem.starts())[0])


def fit_resamples(runs: Runs, counts: Float[ndarray, "S R"], near: ScalingLaw) -> list[ScalingLaw]:
    """A law for each of S resamples, in which a run counts so many times.

    near: the law of all runs, one of the starts.
    """
    problem = _Problem(runs)
    coarse = problem.starts(shares=(0.3, 0.8), splits=(0.5,), exponents=(0.2, 0.7))
    best = problem.best(counts, np.vstack([problem.parameters(near), coarse]))
    return [problem.law(parameters) for parameters in best]


class _Problem:
    """The objective, in centred logarithms: there the parameters depend little on each other."""

    def __init__(self, runs: Runs) -> None:
        self.size_centre = float(np.log(runs.sizes).mean())
        self.token_centre = float(np.log(runs.tokens).mean())
        self.x: Values = np.log(runs.sizes) - self.size_centre
        self.z: Values = np.log(runs.tokens) - self.token_centre
        self.y: Values = np.log(runs.losses)

    def law(self, parameters: Float[ndarray, "5"]) -> ScalingLaw:
        a, b, e, alpha, beta = map(float, parameters)
        return ScalingLaw(
            math.exp(e),
            math.exp(a + alpha * self.size_centre), alpha,
            math.exp(b + beta * self.token_centre), beta,
        )  # fmt: skip

    def parameters(self, law: ScalingLaw) -> Float[ndarray, "5"]:
        logs = np.log(np.maximum([law.A, law.B, law.E], 1e-300))
        logs[0] -= law.alpha * self.size_centre
        logs[1] -= law.beta * self.token_centre
        return np.array([*logs, law.alpha, law.beta])

    def starts(
        self,
        shares: tuple[float, ...] = (0.1, 0.5, 0.9),  # E, as a share of the lowest loss
        splits: tuple[float, ...] = (0.2, 0.5, 0.8),  # of the rest, how much is due to size
        exponents: tuple[float, ...] = (0.1, 0.3, 0.6, 1.2),
    ) -> Float[ndarray, "P 5"]:
        """Laws that are right in the middle of the runs, however they go on from there."""
        lowest, middle = math.exp(self.y.min()), math.exp(self.y.mean())
        rows = []
        for share, split, alpha, beta in itertools.product(shares, splits, exponents, exponents):
            floor = share * lowest
            rest = middle - floor
            rows.append([math.log(split * rest), math.log((1 - split) * rest), math.log(floor),
                         alpha, beta])  # fmt: skip
        return np.array(rows)

    def best(
        self, counts: Float[ndarray, "S R"], starts: Float[ndarray, "P 5"]
    ) -> Float[ndarray, "S 5"]:
        """For each weighting of the runs the best end of all starts."""
        weights = np.repeat(counts, len(starts), axis=0)
        ends, objectives = self._minimise(np.tile(starts, (len(counts), 1)), weights)
        places = objectives.reshape(len(counts), -1).argmin(axis=1)
        return ends.reshape(len(counts), len(starts), 5)[np.arange(len(counts)), places]

    def _minimise(
        self, at: Float[ndarray, "P 5"], weights: Float[ndarray, "P R"]
    ) -> tuple[Float[ndarray, "P 5"], Float[ndarray, "P"]]:
        """All problems at once, by Levenberg and Marquardt's method on reweighted squares.

        A Huber loss is the least over all weights of weighted squares and a penalty, so a step that
        lowers the squares lowers it, too.
        """
        at = at.copy()
        objectives = _objective(self._residuals(at)[0], weights)
        damping = np.full(len(at), 1e-2)
        active = np.arange(len(at))
        for _ in range(STEPS):
            if not len(active):
                break
            residuals, slopes = self._residuals(at[active])
            step = _step(residuals, slopes, weights[active], damping[active])
            moved = at[active] + step
            moved[:, 3:] = np.clip(moved[:, 3:], -STEEPEST, STEEPEST)
            after = _objective(self._residuals(moved)[0], weights[active])
            gain = objectives[active] - after
            better = gain > 0
            at[active[better]] = moved[better]
            objectives[active[better]] = after[better]
            damping[active] = np.clip(damping[active] * np.where(better, 0.2, 5.0), 1e-9, None)
            # A heavily damped step gains little, however far the end is.
            done = better & (gain <= TOLERANCE * objectives[active]) & (damping[active] < 1e-3)
            stuck = ~better & (damping[active] > 1e6)
            active = active[~(done | stuck)]
        return at, objectives

    def _residuals(
        self, at: Float[ndarray, "P 5"]
    ) -> tuple[Float[ndarray, "P R"], Float[ndarray, "P R 5"]]:
        """Predicted less measured log loss, by log-sum-exp, and its slopes."""
        a, b, e, alpha, beta = (column[:, None] for column in at.T)
        terms = np.stack(
            [a - alpha * self.x, b - beta * self.z, np.broadcast_to(e, (len(at), len(self.x)))]
        )  # (3, P, R)
        largest = terms.max(axis=0)
        shares = np.exp(terms - largest)
        total = shares.sum(axis=0)
        shares /= total
        of_size, of_tokens, of_floor = shares
        slopes = np.stack(
            [of_size, of_tokens, of_floor, -self.x * of_size, -self.z * of_tokens], axis=-1
        )
        return largest + np.log(total) - self.y, slopes


def _objective(
    residuals: Float[ndarray, "P R"], weights: Float[ndarray, "P R"]
) -> Float[ndarray, "P"]:
    """The weighted sum of Huber losses."""
    size = np.abs(residuals)
    huber = np.where(size <= HUBER, residuals**2 / 2, HUBER * (size - HUBER / 2))
    return (weights * huber).sum(axis=1)


def _step(
    residuals: Float[ndarray, "P R"],
    slopes: Float[ndarray, "P R 5"],
    weights: Float[ndarray, "P R"],
    damping: Float[ndarray, "P"],
) -> Float[ndarray, "P 5"]:
    """The damped step of each problem."""
    pull = weights * np.minimum(1, HUBER / np.maximum(np.abs(residuals), HUBER))
    weighted = (slopes * pull[..., None]).transpose(0, 2, 1)  # (P, 5, R)
    gradient = weighted @ residuals[..., None]
    curvature = weighted @ slopes
    diagonal = np.einsum("pii->pi", curvature)
    diagonal += damping[:, None] * diagonal + 1e-12 * diagonal.sum(axis=1, keepdims=True) + 1e-300
    step = -np.linalg.solve(curvature, gradient)[..., 0]
    return np.clip(step, -LONGEST_STEP, LONGEST_STEP)
