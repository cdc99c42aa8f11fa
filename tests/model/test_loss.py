"""Every path of the loss computes the same function as float64 mathematics."""

import pytest
import torch
import torch.nn.functional as F

from minigpt.model.loss import CHUNK_ROWS, IGNORE, next_token_loss, resolve_method

# Relative error of a gradient: float32 keeps 24 bits, bfloat16 keeps 8.
TOLERANCE = {"dense": 1e-5, "chunked": 1e-5, "bfloat16": 1e-2}


def problem(n, bias, seed=0, vocab=301, width=24):
    rng = torch.Generator().manual_seed(seed)
    tensors = [
        torch.randn(n, width, generator=rng),
        torch.randn(vocab, width, generator=rng) / 4,
        torch.randn(vocab, generator=rng) if bias else None,
    ]
    targets = torch.randint(vocab, (n,), generator=rng)
    targets[::7] = IGNORE
    targets[-1] = 5
    return tensors, targets


def value_and_gradients(tensors, compute):
    leaves = [None if t is None else t.clone().requires_grad_() for t in tensors]
    loss = compute(*leaves)
    loss.backward()
    return [loss.detach(), *(t.grad for t in leaves if t is not None)]


@pytest.mark.parametrize("method", TOLERANCE)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("n", [1, 100, CHUNK_ROWS, CHUNK_ROWS + 1, 2 * CHUNK_ROWS + 90])
def test_value_and_gradients_agree_with_float64(method, bias, smoothing, n):
    tensors, targets = problem(n, bias, seed=n)

    def exact(h, w, b):
        return F.cross_entropy(
            F.linear(h, w, b), targets, ignore_index=IGNORE, label_smoothing=smoothing
        )

    expected = value_and_gradients([None if t is None else t.double() for t in tensors], exact)
    found = value_and_gradients(
        tensors, lambda h, w, b: next_token_loss(h, w, b, targets, method, smoothing)
    )
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).norm() <= TOLERANCE[method] * theirs.norm()


@pytest.mark.parametrize("method", TOLERANCE)
def test_a_batch_without_targets_costs_nothing_and_moves_nothing(method):
    tensors, targets = problem(10, True)
    found = value_and_gradients(
        tensors,
        lambda h, w, b: next_token_loss(h, w, b, torch.full_like(targets, IGNORE), method),
    )
    assert all(not part.any() for part in found)


@pytest.mark.parametrize("method", TOLERANCE)
def test_an_upstream_factor_scales_the_gradients(method):
    tensors, targets = problem(50, True)
    once = value_and_gradients(tensors, lambda *t: next_token_loss(*t, targets, method))
    twice = value_and_gradients(tensors, lambda *t: 2 * next_token_loss(*t, targets, method))
    for one, two in zip(once, twice, strict=True):
        torch.testing.assert_close(two, 2 * one, rtol=1e-6, atol=0)


@pytest.mark.parametrize("method", TOLERANCE)
def test_batch_and_time_are_one_list_of_tokens(method):
    tensors, targets = problem(60, True)
    flat = next_token_loss(*tensors, targets, method)
    h, w, b = tensors
    shaped = next_token_loss(h.view(4, 15, -1), w, b, targets.view(4, 15), method)
    assert torch.equal(flat, shaped)


@pytest.mark.parametrize("method", TOLERANCE)
def test_a_certain_and_wrong_prediction_stays_finite(method):
    h, w = torch.full((1, 2), 30.0), torch.tensor([[10.0, 10.0], [-10.0, -10.0]])
    loss = next_token_loss(h, w, None, torch.tensor([1]), method)
    assert torch.isfinite(loss)
    assert loss > 80


@pytest.mark.parametrize("method", TOLERANCE)
def test_a_network_in_bfloat16_leaves_the_loss_its_own_precision(method):
    tensors, targets = problem(50, True)
    found = []
    for autocast in (False, True):

        def compute(*t, autocast=autocast):
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                return next_token_loss(*t, targets, method)

        found.append(value_and_gradients(tensors, compute))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_near_certain_predictions_lose_digits_in_bfloat16_only():
    tensors, targets = problem(200, False, seed=1, vocab=1000)
    tensors[0] = 8 * tensors[0]
    targets = (tensors[0] @ tensors[1].T).argmax(-1)  # right, and sure of it

    def exact(h, w, _):
        return F.cross_entropy(F.linear(h, w), targets)

    expected = value_and_gradients([None if t is None else t.double() for t in tensors], exact)
    for method, tolerance in (("dense", 1e-5), ("chunked", 1e-5), ("bfloat16", 0.1)):
        found = value_and_gradients(
            tensors, lambda h, w, b, method=method: next_token_loss(h, w, b, targets, method)
        )
        for ours, theirs in zip(found, expected, strict=True):
            assert (ours - theirs).norm() <= tolerance * theirs.norm()


@pytest.mark.parametrize("method", TOLERANCE)
@pytest.mark.parametrize("target", [301, -5])
def test_a_target_that_is_no_word_is_refused(method, target):
    tensors, targets = problem(10, False)
    targets[3] = target
    with pytest.raises((IndexError, RuntimeError)):  # the chunked op's own
        next_token_loss(*tensors, targets, method)


def test_the_loss_is_told_in_float32_even_of_a_bfloat16_network():
    tensors, targets = problem(50, True)
    halves = [t.bfloat16() for t in tensors]
    for method in ("dense", "bfloat16"):
        assert next_token_loss(*halves, targets, method).dtype == torch.float32


def test_uniform_logits_cost_ln_of_the_vocabulary():
    loss = next_token_loss(torch.zeros(3, 4), torch.zeros(1000, 4), None, torch.tensor([0, 1, 2]))
    assert loss.item() == pytest.approx(6.907755, abs=1e-5)


def test_auto_is_bfloat16_only_where_the_processor_has_it(monkeypatch):
    for has, method in ((True, "bfloat16"), (False, "chunked")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has)
        assert resolve_method("auto", torch.device("cpu")) == method
    assert resolve_method("dense", torch.device("cpu")) == "dense"
