"""Each modern part is the formula of its paper, on every path through the network."""

import dataclasses
import itertools

import pytest
import torch
import torch.nn.functional as F

from minigpt.errors import UserError
from minigpt.model.bigrams import BigramEmbedding
from minigpt.model.decoder import Decoder
from minigpt.model.feed_forward import hidden_units
from minigpt.model.gpt import GPT, count_parameters, training_flops_per_token
from minigpt.model.rotary import rotate, rotation_at
from tests.model.formulas import logits_by_formula
from tests.model.test_decoder import window
from tests.model.test_gpt import SMALL

PARTS = [
    {"activation": "gelu"},
    {"activation": "relu2"},
    {"activation": "swiglu"},
    {"positions": "rotary"},
    {"norm": "rms"},
    {"qk_norm": True},
    {"logit_softcap": 2.5},
    {"bigram_embeddings": 50},
    {"embedding_shortcuts": True},
]
ALL = {key: value for part in PARTS for key, value in part.items()}
CHANGES = [{}, *PARTS, ALL]
UNTIED = dataclasses.replace(SMALL, tie_weights=False)


def network(**changes):
    """A network in which no parameter is where it starts: zeros and ones would hide a part."""
    torch.manual_seed(0)
    net = GPT(dataclasses.replace(UNTIED, **changes)).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(std=0.3)
    return net


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_logits_are_those_of_the_formulas(changes):
    net = network(**changes)
    tokens = torch.randint(37, (3, 12))
    for row, ids in zip(net(tokens), tokens, strict=True):
        expected = logits_by_formula(net, ids)
        torch.testing.assert_close(row.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_attention_with_its_own_dropout_sees_the_same_queries_and_keys(changes):
    net = network(**changes, dropout=1e-9)  # less than a level of the mask: nothing is dropped
    tokens = torch.randint(37, (2, 12))
    expected = net(tokens)
    torch.testing.assert_close(net.train()(tokens), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("changes", PARTS, ids=str)
def test_no_logit_depends_on_a_later_token_and_each_on_the_earlier_ones(changes):
    net = network(**changes)
    tokens = torch.randint(37, (1, 12))
    before = net(tokens)
    changed = tokens.clone()
    changed[:, 6] = (changed[:, 6] + 1) % 37
    after = net(changed)
    assert torch.equal(before[:, :6], after[:, :6])
    assert not (before[:, 6:] == after[:, 6:]).all(-1).any()


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_a_decoder_reads_sequences_of_any_lengths_past_the_context(changes):
    net = network(**changes)
    sequences = [torch.randint(37, (length,)) for length in (0, 5, 12)]
    decoder, ids = Decoder(net, sequences), [sequence.tolist() for sequence in sequences]
    for step in range(20):
        tokens = torch.randint(37, (len(ids), 1))
        for row, token in enumerate(tokens[:, 0].tolist()):
            ids[row].append(token)
        for logits, row in zip(decoder.read(tokens), ids, strict=True):
            expected = net(torch.tensor([window(row, SMALL.block_size)]))[0, -1]
            torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)
        if step == 10:
            decoder.keep([2, 0])
            ids = [ids[2], ids[0]]


def test_a_cache_without_the_token_before_is_a_mistake_of_the_caller():
    net = network(bigram_embeddings=50)
    caches = net.empty_caches(1)
    net.hidden(torch.zeros(1, 2, dtype=torch.long), caches)
    with pytest.raises(AssertionError):
        net.hidden(torch.zeros(1, 1, dtype=torch.long), caches)


def test_zero_init_starts_with_blocks_that_do_nothing_and_equal_chances():
    for init in ("gpt2", "torch"):
        torch.manual_seed(0)
        net = GPT(dataclasses.replace(UNTIED, init=init, zero_init=True, head_bias=True)).eval()
        tokens = torch.randint(37, (2, 12))
        x = net.wte(tokens) + net.wpe(torch.arange(12))
        assert torch.equal(net.hidden(tokens), net.ln_f(x))
        assert not net(tokens).any()
        assert net.blocks[0].attn.qkv.weight.all()


@pytest.mark.parametrize("changes", [{"bigram_embeddings": 50}, {"embedding_shortcuts": True}])
def test_a_part_with_new_parameters_starts_as_the_network_without_it(changes):
    torch.manual_seed(0)
    plain = GPT(UNTIED)
    net = GPT(dataclasses.replace(UNTIED, **changes))
    net.load_state_dict(plain.state_dict(), strict=False)
    tokens = torch.randint(37, (2, 12))
    assert torch.equal(net(tokens), plain(tokens))


def test_turned_queries_and_keys_know_how_far_apart_they_are_and_not_where():
    torch.manual_seed(0)
    qk = torch.randn(1, 1, 2, 1, 8).expand(1, 20, 2, 1, 8)  # the same at 20 positions
    turned = rotate(qk, rotation_at(torch.arange(20), 8))
    q, k = turned[0, :, 0, 0], turned[0, :, 1, 0]
    products = q @ k.T
    for distance in range(20):
        diagonal = products.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert products[:, 0].std() > 0.1
    torch.testing.assert_close(q.norm(dim=-1), qk[0, :, 0, 0].norm(dim=-1))


def test_a_compiler_and_a_gpu_turn_by_real_numbers_as_a_cpu_does_by_complex_ones(monkeypatch):
    torch.manual_seed(0)
    qk = torch.randn(2, 5, 2, 3, 8)
    rotation = rotation_at(torch.arange(5), 8)
    turned = [rotate(x, rotation) for x in (qk, qk.bfloat16())]
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    for x, expected, tolerance in zip((qk, qk.bfloat16()), turned, (1e-6, 1e-2), strict=True):
        actual = rotate(x, rotation)
        assert actual.dtype == x.dtype
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def test_first_pair_turns_by_a_radian_a_position_and_the_last_hardly():
    rotation = rotation_at(torch.tensor([0, 1, 2]), 4)
    angles = torch.tensor([[0, 0], [1, 0.01], [2, 0.02]])  # 10,000^(-2/4) is a hundredth
    torch.testing.assert_close(rotation.cos[:, 0, 0], angles.cos())
    torch.testing.assert_close(rotation.sin[:, 0, 0], angles.sin())


def rows_of_all_pairs(rows, V):  # noqa: N803
    """(previous, token) -> row, for all tokens and for none before; each row counts from 0."""
    bigrams = BigramEmbedding(rows, V, 1)
    bigrams.table.weight.data = torch.arange(rows).float()[:, None]
    looked_up = {}
    for a, b in itertools.product(range(V), range(V)):
        values = bigrams(torch.tensor([[a, b]]))[0, :, 0].int().tolist()
        looked_up[V, a], looked_up[a, b] = values
        before = torch.tensor([[a]])
        assert bigrams(torch.tensor([[b]]), before).int().item() == values[1]
    return looked_up


def test_a_table_with_a_row_for_each_pair_gives_each_its_own():
    looked_up = rows_of_all_pairs(rows=30, V=5)
    assert sorted(looked_up.values()) == [*range(30)]


def test_pairs_that_share_a_table_are_spread_and_the_followers_of_a_token_apart():
    looked_up = rows_of_all_pairs(rows=40, V=37)
    for previous in range(37):
        assert len({looked_up[previous, token] for token in range(37)}) == 37
    counts = torch.bincount(torch.tensor([*looked_up.values()]), minlength=40)
    assert counts.sum() == 37 * 38
    assert counts.max() <= 2 * counts.float().mean()


@pytest.mark.parametrize(
    ("ratio", "width", "units"),
    [(4, 128, 336), (4, 256, 680), (3, 128, 256), (4, 768, 2048), (12, 1, 8)],
)
def test_swiglu_has_at_most_the_parameters_of_the_layer_it_replaces(ratio, width, units):
    assert hidden_units("swiglu", ratio, width) == units
    shape = {"mlp_ratio": ratio, "n_embd": width, "n_head": 1, "bias": False}
    counts = [
        count_parameters(dataclasses.replace(UNTIED, activation=name, **shape))["blocks"]
        for name in ("swiglu", "gelu")
    ]
    matrix = 3 * 8 * width * SMALL.n_layer  # of eight hidden units more
    assert counts[0] <= counts[1] < counts[0] + matrix


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_counted_parameters_are_those_of_the_network(changes):
    net = network(**changes)
    assert sum(count_parameters(net.config).values()) == sum(p.numel() for p in net.parameters())


def test_operations_count_the_three_matrices_of_swiglu_and_no_table():
    shape = dataclasses.replace(
        UNTIED, bias=False, activation="swiglu", bigram_embeddings=1000, positions="rotary"
    )
    # A block of 16 channels: two norms, 4 x 16^2 for attention, and 3 matrices of 40 units.
    block = 2 * 16 + 4 * 16**2 + 3 * 16 * 40
    attention = 12 * 2 * 16 * 12
    assert training_flops_per_token(shape) == 6 * (2 * block + 16 * 37) + attention
    assert count_parameters(shape)["bigram embedding"] == 16_000
    assert "bigram embedding" not in count_parameters(UNTIED)


@pytest.mark.parametrize("changes", [*PARTS, {"zero_init": True}, ALL], ids=str)
def test_a_part_trains_under_autocast_and_reaches_all_its_parameters(changes):
    torch.manual_seed(0)
    net = GPT(dataclasses.replace(UNTIED, dropout=0.1, **changes))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    tokens = torch.randint(37, (4, 12))
    for _ in range(3):  # behind zeros, gradients arrive a step later
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(tokens[:, :-1])
        F.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"positions": "rotary", "n_embd": 18, "n_head": 6},
            "model.positions=rotary turns pairs of channels, but model.n_embd=18 over "
            "model.n_head=6 gives heads of odd width 3; model.n_embd=24 would do",
        ),
        (
            {"activation": "swiglu", "mlp_ratio": 1, "n_embd": 8},
            "model.activation=swiglu takes two thirds of model.mlp_ratio=1 times model.n_embd=8, "
            "in multiples of 8, and there is not one; make the product at least 12",
        ),
        (
            {"zero_init": True, "tie_weights": True},
            "model.zero_init=true needs model.tie_weights=false: a head of zeros would make the "
            "token embedding zero as well",
        ),
        ({"norm": "batch"}, "model.norm=batch is not one of layer, rms"),
        ({"positions": "rotery"}, "did you mean 'rotary'?"),
        ({"qk_norm": 1}, "model.qk_norm must be bool, got 1"),
        ({"logit_softcap": 0.0}, "model.logit_softcap must be above 0, got 0.0"),
        ({"logit_softcap": "high"}, "model.logit_softcap must be float or null, got 'high'"),
        ({"bigram_embeddings": -3}, "model.bigram_embeddings must be above 0, got -3"),
        ({"bigram_embeddings": 0.5}, "model.bigram_embeddings must be int or null, got 0.5"),
    ],
)
def test_a_part_that_cannot_be_is_refused_by_key(change, message):
    with pytest.raises(UserError) as refused:
        dataclasses.replace(UNTIED, **change)
    assert message in str(refused.value)
