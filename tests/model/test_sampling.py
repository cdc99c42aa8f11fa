"""The next token follows from logits, settings and one random number."""

import pytest
import torch

from minigpt.errors import UserError
from minigpt.model.sampling import Sampling, draw, next_token_probabilities, penalise_repetition

LOGITS = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(), [0.5, 0.3, 0.15, 0.05]),
        (Sampling(top_k=2), [0.625, 0.375, 0, 0]),
        (Sampling(top_k=99), [0.5, 0.3, 0.15, 0.05]),
        (Sampling(top_p=0.7), [0.625, 0.375, 0, 0]),  # 0.5 does not reach 0.7; 0.5 + 0.3 does
        (Sampling(top_p=0.4), [1, 0, 0, 0]),
        (Sampling(top_p=1e-300), [1, 0, 0, 0]),  # 0 in float32
        (Sampling(temperature=0.5), [0.6849, 0.2466, 0.0616, 0.0068]),  # squares, normalised
        (Sampling(min_p=0.29), [0.5263, 0.3158, 0.1579, 0]),  # at least 0.29 * 0.5 = 0.145
        (Sampling(min_p=0.31), [0.625, 0.375, 0, 0]),  # at least 0.155
        (Sampling(min_p=1.0), [1, 0, 0, 0]),
        (Sampling(temperature=0.5, min_p=0.1), [0.7353, 0.2647, 0, 0]),  # after the temperature
        (Sampling(top_k=3, min_p=0.01), [0.5263, 0.3158, 0.1579, 0]),
    ],
)
def test_probabilities_follow_the_settings(sampling, expected):
    actual = next_token_probabilities(LOGITS.clone(), sampling)
    torch.testing.assert_close(actual, torch.tensor([expected]).float(), rtol=0, atol=1e-4)


def test_a_seen_token_loses_whatever_the_sign_of_its_logit():
    logits = torch.tensor([[3.0, -1.5, 2.0, -4.0, 0.0]])
    seen = torch.tensor([[True, True, False, False, True]])
    penalised = penalise_repetition(logits, seen, 1.5)
    assert penalised.tolist() == [[2.0, -2.25, 2.0, -4.0, 0.0]]
    assert logits.tolist() == [[3.0, -1.5, 2.0, -4.0, 0.0]]


@pytest.mark.parametrize(
    ("uniform", "expected"), [(0.0, 1), (0.49, 1), (0.5, 3), (0.79, 3), (0.81, 4), (1.0, 4)]
)
def test_a_number_draws_the_token_in_whose_share_it_falls(uniform, expected):
    probabilities = torch.tensor([[0.0, 0.5, 0.0, 0.3, 0.2, 0.0]])
    assert draw(probabilities, torch.tensor([[uniform]])).tolist() == [[expected]]


def test_each_row_is_drawn_by_its_own_number():
    probabilities = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    assert draw(probabilities, torch.tensor([[0.9], [0.1], [1.0]])).tolist() == [[1], [0], [2]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0.0}, r"temperature must lie in \[0.001, 1000\], got 0.0; or use greedy"),
        ({"temperature": float("nan")}, r"sampling.temperature must be a finite number, got nan"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"top_p": 0.0}, r"top_p must lie in \(0, 1\], got 0.0"),
        ({"top_p": 1.5}, r"top_p must lie in \(0, 1\], got 1.5"),
        ({"min_p": 0.0}, r"min_p must lie in \(0, 1\], got 0.0"),
        ({"min_p": float("inf")}, "sampling.min_p must be a finite number, got inf"),
        ({"repetition_penalty": 0}, r"repetition_penalty must lie in \[0.001, 1000\], got 0"),
        ({"repetition_penalty": 1e38}, r"repetition_penalty must lie in \[0.001, 1000\]"),
    ],
)
def test_settings_out_of_range_are_rejected(arguments, message):
    with pytest.raises(UserError, match=message):
        Sampling(**arguments)
