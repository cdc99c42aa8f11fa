"""Sampling follows its settings and its seed, and changes no other state."""

from dataclasses import replace

import pytest
import torch

from minigpt.errors import UserError
from minigpt.model.generate import Sampling, draw, generate, next_token_probabilities
from minigpt.model.gpt import GPT
from tests.model.test_gpt import SMALL

LOGITS = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(), [0.5, 0.3, 0.15, 0.05]),
        (Sampling(top_k=2), [0.625, 0.375, 0, 0]),
        (Sampling(top_k=99), [0.5, 0.3, 0.15, 0.05]),
        (Sampling(top_p=0.7), [0.625, 0.375, 0, 0]),  # 0.5 does not reach 0.7; 0.5 + 0.3 does
        (Sampling(top_p=0.4), [1, 0, 0, 0]),
        (Sampling(temperature=0.5), [0.6849, 0.2466, 0.0616, 0.0068]),  # squares, normalised
    ],
)
def test_probabilities_follow_the_settings(sampling, expected):
    actual = next_token_probabilities(LOGITS.clone(), sampling)
    torch.testing.assert_close(actual, torch.tensor([expected]).float(), rtol=0, atol=1e-4)


def network():
    torch.manual_seed(0)
    return GPT(SMALL)


def test_greedy_takes_the_most_likely_token_also_beyond_the_context_length():
    net = network().eval()
    tokens = torch.randint(37, (2, 10))
    generated = generate(net, tokens, 5, Sampling(greedy=True), seed=0)
    expected = tokens
    for _ in range(5):
        logits = net(expected[:, -12:])[:, -1]
        expected = torch.cat([expected, logits.argmax(-1, keepdim=True)], dim=1)
    assert torch.equal(generated, expected)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "none"])
def test_hidden_states_with_a_cache_equal_those_without(positions):
    torch.manual_seed(0)
    net = GPT(replace(SMALL, positions=positions)).eval()
    tokens = torch.randint(37, (3, 12))
    caches = net.empty_caches(3)
    parts = [net.hidden(tokens[:, :5], caches)]
    parts += [net.hidden(tokens[:, i : i + 1], caches) for i in range(5, 12)]
    torch.testing.assert_close(torch.cat(parts, dim=1), net.hidden(tokens), rtol=1e-5, atol=1e-6)


def test_tokens_are_drawn_in_proportion_to_their_probabilities():
    probabilities = torch.tensor([0.0, 0.5, 0.0, 0.3, 0.2, 0.0])
    drawn = draw(probabilities.expand(20_000, 6), torch.Generator().manual_seed(1)).flatten()
    shares = drawn.bincount(minlength=6) / 20_000
    torch.testing.assert_close(
        shares, probabilities, rtol=0, atol=0.015
    )  # four standard deviations
    assert shares[[0, 2, 5]].tolist() == [0, 0, 0]


def test_the_largest_random_number_draws_a_token_of_positive_probability(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.ones(shape))
    probabilities = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    assert draw(probabilities, torch.Generator()).tolist() == [[1], [2]]


def test_generation_depends_on_the_seed_alone_and_leaves_global_state_unchanged():
    net = network()
    tokens = torch.zeros(1, 3, dtype=torch.long)
    state = torch.random.get_rng_state()
    first = generate(net, tokens, 9, Sampling(), seed=7)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert net.training  # eval mode during generation is undone
    torch.rand(5)
    assert torch.equal(generate(net, tokens, 9, Sampling(), seed=7), first)
    assert not torch.equal(generate(net, tokens, 9, Sampling(), seed=8), first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0.0}, r"temperature must lie in \[0.001, 1000\], got 0.0"),
        ({"temperature": float("nan")}, r"sampling.temperature must be a finite number, got nan"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"top_p": 0.0}, r"top_p must lie in \(0, 1\], got 0.0"),
        ({"top_p": 1.5}, r"top_p must lie in \(0, 1\], got 1.5"),
    ],
)
def test_settings_out_of_range_are_rejected(arguments, message):
    with pytest.raises(UserError, match=message):
        Sampling(**arguments)
