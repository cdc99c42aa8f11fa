"""A decoder that remembers gives the logits of a network that reads its window again."""

from dataclasses import replace

import pytest
import torch

from minigpt.model.attention import KeyValueCache, Places
from minigpt.model.decoder import Decoder
from minigpt.model.gpt import GPT
from tests.model.test_gpt import SMALL

BLOCK = SMALL.block_size  # 12


def network(**changes):
    torch.manual_seed(0)
    return GPT(replace(SMALL, **changes)).eval()


def window(ids, block):
    """The tokens from which the one after `ids` is predicted, found by counting."""
    start = 0
    for end in range(1, len(ids) + 1):
        if end - start > block:
            start = end - max(1, block // 2)
    return ids[start:]


def test_the_window_grows_to_a_context_and_begins_again_with_half_of_it():
    sizes = [len(window([0] * n, 8)) for n in range(1, 20)]
    assert sizes == [1, 2, 3, 4, 5, 6, 7, 8, 4, 5, 6, 7, 8, 4, 5, 6, 7, 8, 4]


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "none"])
def test_sequences_of_any_lengths_are_read_as_each_would_be_alone(positions):
    net = network(positions=positions, head_bias=True)
    torch.nn.init.normal_(net.head.bias)
    sequences = [torch.randint(37, (length,)) for length in (0, 5, 5, 11, 12)]
    decoder = Decoder(net, sequences)
    ids = [sequence.tolist() for sequence in sequences]
    for _ in range(40):
        tokens = torch.randint(37, (5, 1))
        logits = decoder.read(tokens)
        for row, token in enumerate(tokens[:, 0].tolist()):
            ids[row].append(token)
            expected = net(torch.tensor([window(ids[row], BLOCK)]))[0, -1]
            torch.testing.assert_close(logits[row], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("block", [1, 2, 3, 5])
def test_a_window_of_any_size_slides(block):
    net = network(block_size=block)
    decoder, ids = Decoder(net, [torch.empty(0, dtype=torch.long)]), []
    for token in torch.randint(37, (11,)).tolist():
        ids.append(token)
        expected = net(torch.tensor([window(ids, block)]))[0, -1]
        actual = decoder.read(torch.tensor([[token]]))[0]
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_past_the_context_few_tokens_are_read_twice(monkeypatch):
    net = network()
    read = []
    hidden = net.hidden
    monkeypatch.setattr(
        net, "hidden", lambda tokens, *rest: read.append(tokens.numel()) or hidden(tokens, *rest)
    )
    decoder = Decoder(net, [torch.zeros(11, dtype=torch.long)])
    for _ in range(70):
        decoder.read(torch.zeros(1, 1, dtype=torch.long))
    # A window begins after every 7 tokens: 12 - 5 that are kept.
    assert read == [11, 1, *([5] + [1] * 7) * 9, 5, *[1] * 6]


def test_what_is_not_kept_is_forgotten_and_the_rest_goes_on():
    net = network()
    sequences = [torch.randint(37, (length,)) for length in (3, 9, 6)]
    decoder, other = Decoder(net, sequences), Decoder(net, [sequences[2], sequences[0]])
    decoder.keep([2, 0])
    for _ in range(15):
        tokens = torch.randint(37, (2, 1))
        torch.testing.assert_close(decoder.read(tokens), other.read(tokens), rtol=1e-5, atol=1e-6)


def test_places_are_behind_the_tokens_of_each_row():
    places = Places.behind([2, 0], torch.device("cpu"))
    assert places.positions.tolist() == [[2], [0]]
    assert places.visible[:, 0, 0].tolist() == [[True, True, True], [True, False, False]]
    cache = KeyValueCache((2, 1, 4, 1), like=torch.zeros(1))
    keys, values = torch.tensor([[[[1.0]]], [[[2.0]]]]), torch.tensor([[[[3.0]]], [[[4.0]]]])
    k, v = cache.extend(keys, values, places)
    assert k[:, 0, :, 0].tolist() == [[0, 0, 1], [2, 0, 0]]
    assert v[:, 0, :, 0].tolist() == [[0, 0, 3], [4, 0, 0]]
