"""A scaling law is recovered from losses that follow one, and no better one is near."""

import math

import numpy as np
import pytest
import torch

from minigpt.statistics.scaling_fit import fit_law
from minigpt.statistics.scaling_law import Runs, ScalingLaw

# Hoffmann's law as Besiroglu et al. (2024) fit it, and two of other shapes.
CHINCHILLA = ScalingLaw(E=1.8172, A=482.01, alpha=0.3478, B=2085.43, beta=0.3658)
LAWS = [
    CHINCHILLA,
    ScalingLaw(E=1.2, A=60.0, alpha=0.35, B=400.0, beta=0.4),
    ScalingLaw(E=0.3, A=5.0, alpha=0.1, B=3000.0, beta=0.55),
]


def ladder(law, noise=0.0, seed=0, sizes=(2e5, 4e5, 8e5, 1.6e6), tokens=(1e6, 2e6, 4e6)):
    n, d = (values.ravel() for values in np.meshgrid(sizes, tokens))
    rng = np.random.default_rng(seed)
    return Runs(n, d, law.loss(n, d) * np.exp(noise * rng.standard_normal(len(n))))


@pytest.mark.parametrize("law", LAWS)
def test_without_noise_every_parameter_is_recovered_within_1_percent(law):
    fitted = fit_law(ladder(law))
    for name in ("E", "A", "alpha", "B", "beta"):
        assert getattr(fitted, name) == pytest.approx(getattr(law, name), rel=0.01), name


def test_the_smallest_ladder_that_can_be_fitted_is_fitted():
    n = np.array([1e5, 1e5, 4e5, 4e5, 1.6e6, 1.6e6])
    d = np.array([1e6, 4e6, 1e6, 1.6e7, 4e6, 1.6e7])
    fitted = fit_law(Runs(n, d, LAWS[1].loss(n, d)))
    assert fitted.alpha == pytest.approx(0.35, rel=0.01)
    assert fitted.beta == pytest.approx(0.4, rel=0.01)


def reference_objective(runs, parameters):
    """The sum of Huber losses of log losses, in Hoffmann's parameters, by torch."""
    a, b, e, alpha, beta = parameters
    n, d, y = (torch.from_numpy(np.log(v)) for v in (runs.sizes, runs.tokens, runs.losses))
    predicted = torch.logsumexp(torch.stack([a - alpha * n, b - beta * d, e.expand(len(n))]), 0)
    return torch.nn.functional.huber_loss(predicted, y, delta=1e-3, reduction="sum")


def as_parameters(law):
    return torch.tensor(
        [math.log(law.A), math.log(law.B), math.log(law.E), law.alpha, law.beta],
        dtype=torch.float64,
    )


def test_with_noise_another_optimizer_ends_no_lower():
    runs = ladder(CHINCHILLA, noise=0.005, seed=1)
    parameters = as_parameters(fit_law(runs)).requires_grad_()
    at_the_fit = reference_objective(runs, parameters).item()
    best = at_the_fit
    for start in (as_parameters(CHINCHILLA), parameters.detach().clone()):
        other = start.requires_grad_()
        optimizer = torch.optim.LBFGS(
            [other],
            max_iter=100,
            tolerance_grad=1e-12,
            tolerance_change=1e-15,
            line_search_fn="strong_wolfe",
        )

        def closure(optimizer=optimizer, other=other):
            optimizer.zero_grad()
            loss = reference_objective(runs, other)
            loss.backward()
            return loss

        optimizer.step(closure)
        best = min(best, reference_objective(runs, other).item())
    assert at_the_fit <= best * (1 + 1e-4)


def test_one_run_far_off_bends_the_law_little():
    runs = ladder(LAWS[1])
    losses = runs.losses.copy()
    losses[5] *= 1.2
    fitted = fit_law(Runs(runs.sizes, runs.tokens, losses))
    assert fitted.alpha == pytest.approx(0.35, rel=0.05)
    assert fitted.loss(1e30, 1e30) == pytest.approx(1.2, rel=0.05)


def test_the_best_size_grows_with_the_share_of_the_tokens_exponent():
    assert ScalingLaw(1, 1, 0.3, 1, 0.6).size_exponent == pytest.approx(2 / 3)
    assert not ScalingLaw(1, 1, 0.3, 1, -0.1).falls
