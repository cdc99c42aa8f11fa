"""Sequences are continued by their settings and seeds, and nothing else changes or is changed."""

from dataclasses import replace

import pytest
import torch

from minigpt.model.generate import Continuation, generate
from minigpt.model.gpt import GPT
from minigpt.model.sampling import Sampling, next_token_probabilities, penalise_repetition
from tests.model.test_decoder import window
from tests.model.test_gpt import SMALL


def network(**changes):
    torch.manual_seed(0)
    net = GPT(replace(SMALL, **changes))
    with torch.no_grad():  # sure enough of itself that settings matter
        net.head.weight.mul_(10)
    return net


def test_greedy_takes_the_most_likely_token_also_beyond_the_context_length():
    net = network().eval()
    tokens = torch.randint(37, (2, 10))
    generated = generate(net, tokens, 15, Sampling(greedy=True), seed=0)
    for row, ids in zip(generated, tokens.tolist(), strict=True):
        for _ in range(15):
            logits = net(torch.tensor([window(ids, SMALL.block_size)]))[0, -1]
            ids.append(int(logits.argmax()))
        assert row.tolist() == ids
    assert len(set(generated[0].tolist())) > 3


def test_a_prompt_longer_than_the_context_is_read_from_its_last_tokens():
    net = network().eval()
    long = torch.randint(37, (1, 30))
    settings = (4, Sampling(), 5)
    expected = generate(net, long[:, -SMALL.block_size :], *settings)[:, -4:]
    assert torch.equal(generate(net, long, *settings)[:, -4:], expected)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "none"])
def test_hidden_states_with_a_cache_equal_those_without(positions):
    net = network(positions=positions).eval()
    tokens = torch.randint(37, (3, 12))
    caches = net.empty_caches(3)
    parts = [net.hidden(tokens[:, :5], caches)]
    parts += [net.hidden(tokens[:, i : i + 1], caches) for i in range(5, 12)]
    torch.testing.assert_close(torch.cat(parts, dim=1), net.hidden(tokens), rtol=1e-5, atol=1e-6)


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


def test_a_row_is_what_it_would_be_alone_with_its_own_seed():
    net = network()
    tokens = torch.zeros(3, 2, dtype=torch.long)
    rows = generate(net, tokens, 20, Sampling(), seed=7)
    for i in range(3):
        assert torch.equal(rows[i : i + 1], generate(net, tokens[:1], 20, Sampling(), seed=7 + i))
    assert not torch.equal(rows[0], rows[1])
    assert generate(net, tokens, 1, Sampling(), seed=2**63 - 1).shape == (3, 3)


SETTINGS = [
    Sampling(),
    Sampling(greedy=True),
    Sampling(top_p=0.9, repetition_penalty=1.3),
    Sampling(greedy=True, repetition_penalty=1.3),
]


@pytest.mark.parametrize("sampling", SETTINGS)
def test_prompts_of_any_lengths_are_continued_together_as_each_would_be_alone(sampling):
    net = network().eval()
    prompts = [torch.randint(37, (length,)) for length in (1, 4, 4, 12)]
    together = Continuation(net, prompts, sampling, [3, 3, 4, 3])
    rows = torch.cat([together.next_tokens() for _ in range(10)], dim=1).tolist()
    together.keep([0, 3])
    late = torch.cat([together.next_tokens() for _ in range(10)], dim=1).tolist()
    rows[0] += late[0]
    rows[3] += late[1]
    for prompt, seed, row in zip(prompts, [3, 3, 4, 3], rows, strict=True):
        alone = Continuation(net, [prompt], sampling, [seed])
        assert [int(alone.next_tokens()) for _ in range(len(row))] == row


def test_the_probabilities_are_those_of_the_tokens_that_were_chosen():
    net = network().eval()
    prompt = torch.tensor([1, 2, 3])
    sampling = Sampling(temperature=0.7, top_k=5, repetition_penalty=1.5)
    continuation = Continuation(net, [prompt], sampling, [1])
    ids = prompt.tolist()
    for _ in range(8):
        token = int(continuation.next_tokens())
        own, sampled = continuation.probabilities()
        logits = net(torch.tensor([ids]))[:, -1]
        seen = torch.zeros(1, 37, dtype=torch.bool)
        seen[0, ids] = True
        penalised = penalise_repetition(logits, seen, 1.5)
        assert own.item() == pytest.approx(logits.softmax(-1)[0, token].item(), rel=1e-4)
        expected = next_token_probabilities(penalised, sampling)[0, token].item()
        assert sampled.item() == pytest.approx(expected, rel=1e-4)
        assert expected > 0
        ids.append(token)


def test_of_a_greedy_token_the_sampled_probability_is_one():
    continuation = Continuation(network().eval(), [torch.tensor([1])], Sampling(greedy=True), [1])
    continuation.next_tokens()
    own, sampled = continuation.probabilities()
    assert 0 < own.item() < 1
    assert sampled.tolist() == [1.0]
