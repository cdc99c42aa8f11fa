"""Every method of the loss agrees with a float64 reference, in value and gradients."""

import importlib.util
import math
import os
import subprocess
import sys
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from minigpt.errors import UserError
from minigpt.model.fused_head import FUSED
from minigpt.model.loss import (
    IGNORE,
    check_method,
    check_smoothing,
    next_token_loss,
    perplexity,
    resolve_method,
)

# Relative error of value and gradients: float32 has 24 significant bits, bfloat16 has 8.
TOLERANCE = {"dense": 1e-5, "chunked": 1e-5, "float32": 1e-5, "bfloat16": 1e-2}

CHUNK_ROWS = max(rows for _, rows in FUSED.values())


def problem(n, bias, seed=0, vocab=301, width=24):
    """Random ([hidden, weight, bias], targets) of n rows; every seventh target is ignored."""
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
    """[loss, gradient of each tensor] of compute(*tensors)."""
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
    actual = value_and_gradients(
        tensors, lambda h, w, b: next_token_loss(h, w, b, targets, method, smoothing)
    )
    for ours, reference in zip(actual, expected, strict=True):
        assert (ours - reference).norm() <= TOLERANCE[method] * reference.norm()


@pytest.mark.parametrize("method", TOLERANCE)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cap", [1.5, 30])
@pytest.mark.parametrize("n", [100, CHUNK_ROWS + 1])
def test_capped_logits_agree_with_float64(method, bias, cap, n):
    tensors, targets = problem(n, bias, seed=n)

    def exact(h, w, b):
        logits = cap * torch.tanh(F.linear(h, w, b) / cap)
        return F.cross_entropy(logits, targets, ignore_index=IGNORE)

    expected = value_and_gradients([None if t is None else t.double() for t in tensors], exact)
    actual = value_and_gradients(
        tensors, lambda h, w, b: next_token_loss(h, w, b, targets, method, softcap=cap)
    )
    for ours, reference in zip(actual, expected, strict=True):
        assert (ours - reference).norm() <= TOLERANCE[method] * reference.norm()


@pytest.mark.parametrize("cap", [None, 15.7])  # bfloat16 rounds 1 / 15.7 by 0.3%
def test_the_gradient_of_a_bias_is_not_scaled_by_rounding(cap):
    draw = torch.Generator().manual_seed(0)
    n, V, C = 2040, 200, 24  # bfloat16 rounds 1 / 2040 by 0.4%
    sizes = [(n, C), (V, C), (V,)]
    tensors = [torch.randn(size, generator=draw) for size in sizes]
    targets = torch.randint(V, (n,), generator=draw)

    def exact(h, w, b):
        logits = F.linear(h, w, b)
        return F.cross_entropy(logits if cap is None else cap * torch.tanh(logits / cap), targets)

    *_, expected = value_and_gradients([t.double() for t in tensors], exact)
    *_, actual = value_and_gradients(
        tensors, lambda h, w, b: next_token_loss(h, w, b, targets, "bfloat16", softcap=cap)
    )
    assert actual.double() @ expected / (expected @ expected) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("method", ["dense", "chunked", "float32"])
def test_a_confident_wrong_prediction_costs_no_more_than_the_cap_allows(method):
    h, w = torch.full((1, 2), 30.0), torch.tensor([[10.0, 10.0], [-10.0, -10.0]])
    loss = next_token_loss(h, w, None, torch.tensor([1]), method, softcap=50.0)
    assert loss.item() == pytest.approx(100, abs=0.01)  # 50 - -50; e^-100 underflows


def test_capped_logits_refuse_what_would_not_know_of_the_cap(monkeypatch):
    tensors, targets = problem(10, False)
    refusal = "label_smoothing=0.1 does not go with model.logit_softcap; set label_smoothing=0 or"
    with pytest.raises(UserError, match=refusal):
        next_token_loss(*tensors, targets, "dense", 0.1, softcap=9.0)
    with pytest.raises(UserError, match=refusal):
        check_smoothing(0.1, has_softcap=True)
    check_smoothing(0.1, has_softcap=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    for method in ("liger", "cut"):
        refusal = (
            f"loss={method} does not cap logits; set model.logit_softcap=null or use loss=auto"
        )
        with pytest.raises(UserError, match=refusal):
            check_method(method, torch.device("cuda"), has_bias=False, has_softcap=True)
        with pytest.raises(UserError, match=refusal):
            next_token_loss(*tensors, targets, method, softcap=9.0)


@pytest.mark.parametrize("method", TOLERANCE)
@pytest.mark.parametrize("bias", [True, False])
def test_an_empty_batch_has_zero_loss_and_zero_gradients(method, bias):
    (_, w, b), _ = problem(1, bias)
    no_ids = torch.empty(0, dtype=torch.int64)
    loss_and_gradients = value_and_gradients(
        [torch.empty(0, 24), w, b], lambda *t: next_token_loss(*t, no_ids, method)
    )
    assert len(loss_and_gradients) == 3 + bias
    assert all(not tensor.any() for tensor in loss_and_gradients)


@pytest.mark.parametrize("method", TOLERANCE)
def test_a_batch_without_targets_has_zero_loss_and_zero_gradients(method):
    tensors, targets = problem(10, True)
    loss_and_gradients = value_and_gradients(
        tensors,
        lambda h, w, b: next_token_loss(h, w, b, torch.full_like(targets, IGNORE), method),
    )
    assert all(not tensor.any() for tensor in loss_and_gradients)


@pytest.mark.parametrize("method", TOLERANCE)
def test_gradients_scale_with_the_upstream_gradient(method):
    tensors, targets = problem(50, True)
    once = value_and_gradients(tensors, lambda *t: next_token_loss(*t, targets, method))
    twice = value_and_gradients(tensors, lambda *t: 2 * next_token_loss(*t, targets, method))
    for one, two in zip(once, twice, strict=True):
        torch.testing.assert_close(two, 2 * one, rtol=1e-6, atol=0)


@pytest.mark.parametrize("method", TOLERANCE)
def test_batch_and_time_dimensions_are_flattened(method):
    tensors, targets = problem(60, True)
    flat = next_token_loss(*tensors, targets, method)
    h, w, b = tensors
    shaped = next_token_loss(h.view(4, 15, -1), w, b, targets.view(4, 15), method)
    assert torch.equal(flat, shaped)


@pytest.mark.parametrize("method", TOLERANCE)
def test_a_confident_wrong_prediction_costs_the_difference_of_its_logits(method):
    h, w = torch.full((1, 2), 30.0), torch.tensor([[10.0, 10.0], [-10.0, -10.0]])
    loss = next_token_loss(h, w, None, torch.tensor([1]), method)
    # Logits of 600 and -600. A probability in bfloat16 ends at e^-87, the least of its numbers.
    assert loss.item() == pytest.approx(87.3 if method == "bfloat16" else 1200, abs=0.1)


@pytest.mark.parametrize("method", TOLERANCE)
def test_autocast_does_not_change_the_precision_of_the_loss(method):
    tensors, targets = problem(50, True)
    results = []
    for autocast in (False, True):

        def compute(*t, autocast=autocast):
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                return next_token_loss(*t, targets, method)

        results.append(value_and_gradients(tensors, compute))
    for without, with_autocast in zip(*results, strict=True):
        torch.testing.assert_close(with_autocast, without, rtol=0, atol=0)


def test_confident_right_predictions_lose_digits_in_bfloat16_only():
    tensors, targets = problem(200, False, seed=1, vocab=1000)
    tensors[0] = 8 * tensors[0]
    targets = (tensors[0] @ tensors[1].T).argmax(
        -1
    )  # the most likely id, so every prediction is right

    def exact(h, w, _):
        return F.cross_entropy(F.linear(h, w), targets)

    expected = value_and_gradients([None if t is None else t.double() for t in tensors], exact)
    for method, tolerance in {**TOLERANCE, "bfloat16": 0.1}.items():
        actual = value_and_gradients(
            tensors, lambda h, w, b, method=method: next_token_loss(h, w, b, targets, method)
        )
        for ours, reference in zip(actual, expected, strict=True):
            assert (ours - reference).norm() <= tolerance * reference.norm()


@pytest.mark.parametrize("method", TOLERANCE)
@pytest.mark.parametrize("target", [301, -5])
def test_a_target_outside_the_vocabulary_is_rejected(method, target):
    tensors, targets = problem(10, False)
    targets[3] = target
    with pytest.raises((IndexError, RuntimeError)):  # torch's chunked op raises a RuntimeError
        next_token_loss(*tensors, targets, method)


def test_the_loss_is_float32_also_for_bfloat16_inputs():
    tensors, targets = problem(50, True)
    halves = [t.bfloat16() for t in tensors]
    for method in ("dense", "bfloat16"):
        assert next_token_loss(*halves, targets, method).dtype == torch.float32


def test_uniform_logits_cost_the_logarithm_of_the_vocabulary_size():
    loss = next_token_loss(torch.zeros(3, 4), torch.zeros(1000, 4), None, torch.tensor([0, 1, 2]))
    assert loss.item() == pytest.approx(6.907755, abs=1e-5)


def test_auto_selects_bfloat16_only_on_a_cpu_that_supports_it(monkeypatch):
    for processor, library in product([True, False], repeat=2):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=processor: has)
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda has=library: has)
        method = "bfloat16" if processor and library else "float32"
        assert resolve_method("auto", torch.device("cpu")) == method
    assert resolve_method("auto", torch.device("cuda")) == "chunked"
    assert resolve_method("dense", torch.device("cpu")) == "dense"


@pytest.mark.parametrize(
    ("method", "device", "able"),
    [
        ("bfloat16", "mps", "auto, chunked, dense"),
        ("float32", "mps", "auto, chunked, dense"),
        ("liger", "cpu", "auto, bfloat16, float32, chunked, dense"),
    ],
)
def test_a_method_that_a_device_cannot_run_is_refused_with_those_that_it_can(method, device, able):
    with pytest.raises(UserError) as refused:
        check_method(method, torch.device(device), has_bias=False)
    assert str(refused.value) == f"loss={method} does not run on {device}; choose one of {able}"


def test_a_library_that_is_missing_or_has_no_bias_is_refused_with_the_way_out(monkeypatch):
    gpu = torch.device("cuda")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="loss=liger needs a package: pip install liger-kernel"):
        check_method("liger", gpu, has_bias=True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    check_method("liger", gpu, has_bias=True)
    check_method("cut", gpu, has_bias=False)
    with pytest.raises(UserError, match="loss=cut has no bias; set model.head_bias=false"):
        check_method("cut", gpu, has_bias=True)


def test_a_processor_held_to_older_instructions_counts_as_one_without_bfloat16():
    script = "from minigpt.model.loss import *; print(has_bfloat16_instructions())"
    process = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout == "False\n"


def test_perplexity_is_exp_of_the_loss_and_infinite_on_overflow():
    assert perplexity(0.0) == 1.0
    assert perplexity(2.0) == pytest.approx(7.389056, abs=1e-6)
    assert perplexity(1000.0) == math.inf
    assert math.isnan(perplexity(math.nan))


def test_a_wrong_shape_is_named_at_the_call():
    hidden, weight, bias = torch.zeros(3, 4), torch.zeros(5, 4), torch.zeros(6)
    with pytest.raises(TypeError, match="bias"):  # V is 5 in the weight
        next_token_loss(hidden, weight, bias, torch.zeros(3, dtype=torch.int64))
