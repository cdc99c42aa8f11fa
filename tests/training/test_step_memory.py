"""The estimate of a step's memory counts what autograd keeps, and what torch allocates at once."""

import dataclasses
import json

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from minigpt.config import build, compose_config
from minigpt.model.gpt import GPT, GPTConfig, count_parameters
from minigpt.model.loss import next_token_loss
from minigpt.training.step_memory import StepSettings, _Parts, estimate_memory

B, T, V = 8, 32, 70
SMALL = ["model=base", "model.n_embd=64", "model.n_layer=2", f"model.block_size={T}",
         f"model.vocab_size={V}"]  # fmt: skip
STEP = StepSettings(batch_size=32, loss="float32", bfloat16=False, on_cpu=True)


def config(*words):
    return build(GPTConfig, "model", compose_config([*words]).model)


MODERN = ["model.norm=rms", "model.qk_norm=true", "model.positions=rotary",
          "model.activation=swiglu", "model.embedding_shortcuts=true"]  # fmt: skip
PARTS = [
    *([word] for word in MODERN), MODERN, [], ["model.activation=relu2"], ["model.bias=false"],
    ["model.bigram_embeddings=50"], ["model.qk_norm=true", "model.positions=rotary"],
]  # fmt: skip


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("words", PARTS, ids=" ".join)
def test_activations_are_what_autograd_keeps(words, bfloat16, dropout):
    model = config(*SMALL, f"model.dropout={dropout}", *words)
    net, kept = GPT(model), {}
    weights = {p.untyped_storage().data_ptr() for p in net.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes(), tensor  # kept alive: no address comes back
        return tensor

    with (
        torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        net.hidden(torch.randint(V, (B, T)))
    step = dataclasses.replace(STEP, batch_size=B, bfloat16=bfloat16)
    # The ids of tokens and tables of positions are left out.
    assert _Parts(model, step).activations() == pytest.approx(
        sum(size for size, _ in kept.values()), rel=0.01
    )


def peak_of_tensors(run, folder):
    """The most bytes that torch had allocated at once of what it allocated during a call."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    profiled.export_chrome_trace(str(folder / "trace.json"))
    events = json.loads((folder / "trace.json").read_text())["traceEvents"]
    changes = [(e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]"]
    at, peak = 0, 0
    for _, size in sorted(changes, key=lambda change: change[0]):
        at += size
        peak = max(peak, at)
    return peak


@pytest.mark.parametrize("loss", ["float32", "bfloat16", "dense"])
@pytest.mark.parametrize(
    "words",
    [
        ["model.vocab_size=9000", "model.dropout=0.1"],  # the head is most of it
        ["model.vocab_size=9000", "model.head_bias=true"],
        ["model.vocab_size=9000", "model.logit_softcap=15"],
        ["model.dropout=0.1"],  # attention
        ["model.dropout=0"],  # hidden units
        ["model.dropout=0", *MODERN],
    ],
    ids=" ".join,
)
def test_the_peak_is_that_of_the_tensors_of_a_training_step(words, loss, tmp_path):
    model = config(*SMALL, *words)
    tokens = torch.randint(model.vocab_size, (STEP.batch_size, T + 1))
    bfloat16 = loss == "bfloat16"

    def train():
        net = GPT(model)
        optimizer = torch.optim.AdamW(net.parameters(), fused=True)
        for _ in range(2):
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                hidden, head = net.hidden(tokens[:, :-1]), net.head
                value = next_token_loss(hidden, head.weight, head.bias, tokens[:, 1:], loss,
                                        softcap=model.logit_softcap)  # fmt: skip
            del hidden
            optimizer.zero_grad()
            value.backward()
            optimizer.step()

    step = dataclasses.replace(STEP, loss=loss, bfloat16=bfloat16)
    assert estimate_memory(model, step) == pytest.approx(peak_of_tensors(train, tmp_path), rel=0.1)


def test_weights_gradients_and_moments_are_counted_and_divided_among_processes():
    model = config("model=base")
    counts = count_parameters(model)
    P, blocks = sum(counts.values()), counts["blocks"]
    assert (P, blocks) == (13_278_976, 396_544)
    one = estimate_memory(model, STEP)
    averaged = dataclasses.replace(STEP, averaged=True)
    assert estimate_memory(model, averaged) - one == 4 * P
    assert one - estimate_memory(model, dataclasses.replace(STEP, muon=True)) == 4 * blocks
    two = dataclasses.replace(STEP, processes=2)
    assert estimate_memory(model, two) - one == 4 * P  # DDP's buckets
    # Half of four times P, and whole for the step: all but the blocks, and two blocks of two.
    divided = estimate_memory(model, dataclasses.replace(two, sharded=True))
    assert one - divided == 4 * (2 * P - P)
