"""The benchmarks run, keep each kind of processor's results, and print what they measured."""

import importlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minigpt.config import build, compose_config, plain
from minigpt.evaluation.windows import document_windows
from minigpt.model.gpt import GPT, GPTConfig
from minigpt.training.build import build_data
from tests.conftest import REPOSITORY
from tests.test_docs import prose_of_markdown, too_wide

TINY = ["experiment=memorize", "model.n_embd=8", "model.block_size=8"]


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    return importlib.import_module


def row(minigpt, **rivals):
    """A round in which each side took so many seconds and as many bytes."""
    own = {"loss": "float32", "precision": "float32", "flops": 60e9}
    sides = {name.replace("_", ", "): {"seconds": s, "peak": s} for name, s in rivals.items()}
    rate = {"float32": 100e9, "bfloat16": 400e9}
    return {"minigpt": {"seconds": minigpt, "peak": minigpt, **own}, **sides, "rate": rate}


def results(*rows):
    return {
        "machine": "2 threads of a processor",
        "instructions": ["avx2"],
        "libraries": {"transformers": "5.0", "litgpt": None},
        "commits": ["0123456789"],
        "configs": {"base": list(rows)},
        "lightning": [{"bare": 0.001, "lightning": 0.0015}],
        "curve": {"default": [2.0, 1.0], "reference": [2.0, 1.25]},
    }


def test_a_run_replaces_only_the_results_of_its_kind_of_processor(module, monkeypatch, tmp_path):
    files, machine = module("results"), module("machine")
    monkeypatch.setattr(files, "RESULTS", tmp_path)
    (tmp_path / "speed.json").write_text('{"machine": "of an earlier layout"}')
    files.store_kind("speed", machine.HELD, {"a": 1})
    files.store_kind("speed", machine.WITH_BFLOAT16, {"b": 2})
    files.store_kind("speed", machine.HELD, {"a": 3})
    assert json.loads((tmp_path / "speed.json").read_text()) == {
        "with bfloat16 instructions": {"b": 2},
        "held to AVX2": {"a": 3},
    }
    assert [path.name for path in tmp_path.iterdir()] == ["speed.json"]


def test_the_best_rival_is_that_of_each_round(module):
    page = module("speed_page")
    rows = [
        row(1.0, plain_float32=4.0, plain_float32_compiled=2.0, transformers_bfloat16=3.0),
        row(1.0, plain_float32=5.0, plain_float32_compiled=4.0, transformers_bfloat16=1.5),
        row(2.0, plain_float32=8.0, plain_float32_compiled=4.4, transformers_bfloat16=6.0),
    ]
    assert page.speedup(rows, list(page.RIVALS)) == "2.00 (1.50 to 2.20)"
    assert page.speedup(rows, page.EAGER_FLOAT32) == "4.00 (4.00 to 5.00)"
    assert page.fastest(rows, list(page.RIVALS)) == "transformers, bfloat16"
    assert page.share_of_rate(rows) == "60% (30% to 60%)"  # of float32's rate
    assert page.memory_share(rows) == "20%"


def test_the_share_is_of_the_bfloat16_rate_where_loss_or_step_use_it(module):
    bfloat16 = row(1.0)
    bfloat16["minigpt"]["loss"] = "bfloat16"
    assert module("speed_page").share_of_rate([bfloat16]) == "15% (15% to 15%)"


def test_a_page_has_every_kind_of_processor_and_fits_a_diff(module):
    files, page = module("results"), module("speed_page")
    kinds = {kind: results(row(1.0, plain_float32=4.0)) for kind in module("machine").KINDS}
    text = files.wrapped(page.page(kinds))
    assert too_wide(prose_of_markdown(text)) == []
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## With bfloat16 instructions",
        "## Without bfloat16 instructions",
        "## Held to AVX2",
    ]
    text = " ".join(text.split())
    assert text.count("This is not a machine of its own") == 1
    assert "| held to AVX2 (avx2) | base | 1,000.0 | plain, float32 | 4,000.0 |" in text
    assert "Not installed, and so left out: litgpt." in text
    assert "differs by at most 20.00%" in text


def test_only_a_side_ten_times_as_slow_as_the_fastest_is_not_repeated(module):
    rows = [row(1.0, plain_float32=20.0, plain_bfloat16=10.0, transformers_bfloat16=10.1)]
    assert module("train_step").slow_sides(rows) == {"transformers, bfloat16"}


def test_rounds_are_added_only_to_those_of_the_same_machine_and_libraries(module, monkeypatch):
    script = module("train_step")
    stored = {**results(row(1.0)), "configs": {"base": [row(1.0)], "wide": [row(2.0)]}}
    monkeypatch.setattr(script, "empty_results", lambda: {**stored, "configs": {}, "curve": {}})
    assert script.continued(stored, ["base"], add=True) == stored
    assert script.continued(stored, ["base"], add=False)["configs"] == {"wide": [row(2.0)]}
    monkeypatch.setattr(script, "empty_results", lambda: {**results(), "machine": "another"})
    with pytest.raises(SystemExit, match="of another machine or libraries"):
        script.continued(stored, ["base"], add=True)


def test_an_interrupted_run_keeps_its_rounds_and_is_continued(module, monkeypatch, tmp_path):
    files, script = module("results"), module("train_step")
    monkeypatch.setattr(files, "RESULTS", tmp_path)
    sides = ("plain, float32", "plain, bfloat16")
    monkeypatch.setattr(script, "RIVALS", {side: script.RIVALS[side] for side in sides})
    rounds = iter([1.0, 1.0, None, 2.0])
    measured = []

    def run_script(script, *arguments, folder):
        side = arguments[1]
        measured.append(side)
        if side == "minigpt" and (seconds := next(rounds)) is None:
            raise KeyboardInterrupt
        if side == "minigpt":
            return row(seconds)["minigpt"]
        if side == "rate":
            return row(1.0)["rate"]
        return {"seconds": 30.0, "peak": 1, "losses": [1.0]}

    monkeypatch.setattr(script, "run_script", run_script)
    monkeypatch.setattr("sys.argv", ["train_step.py", "--rounds", "3", "--configs", "mini"])
    with pytest.raises(KeyboardInterrupt):
        script.main()
    monkeypatch.setattr(
        "sys.argv", ["train_step.py", "--rounds", "1", "--configs", "mini", "--add"]
    )
    script.main()
    (kind,) = files.stored_kinds("speed").values()
    rows = kind["configs"]["mini"]
    assert [r["minigpt"]["seconds"] for r in rows] == [1.0, 1.0, 2.0]
    # 30 times as slow as minigpt in the first round, so not measured again.
    assert [measured.count(side) for side in sides] == [3, 1]
    assert "rounds of each configuration: 3." in " ".join(
        (tmp_path / "speed.md").read_text().split()
    )
    assert "1 of 3 rounds" in (tmp_path / "speed.md").read_text()


def test_a_rival_trains_on_the_batches_of_the_run(module, tmp_path):
    cfg = compose_config([*TINY, f"data.root={tmp_path}"])
    data, _ = build_data(cfg)
    own, rivals = iter(data.train_dataloader()), module("train_sides").training_batches(cfg)
    for _ in range(3):
        for ours, theirs in zip(next(own), next(rivals), strict=True):
            assert torch.equal(ours, theirs)


def test_steps_are_timed_after_the_warm_up_until_there_are_enough(module):
    times = module("train_sides").StepTimes(seconds=4.0)
    enough = [times.add(seconds) for seconds in (9.0, 3.0, 2.0, 1.0)]
    assert enough == [False, False, False, True]  # 3 + 2 s are enough, but two steps are not
    assert times.result() == {"seconds": 2.0, "steps": 3}


@pytest.mark.parametrize("model", ["plain", "transformers", "litgpt", "minigpt"])
def test_a_side_trains(module, monkeypatch, tmp_path, model):
    sides = module("train_sides")
    monkeypatch.setattr(sides, "WARM_UP", 0.0)
    overrides = [*TINY, f"data.root={tmp_path}"]
    if model == "minigpt":
        result = sides.minigpt_step(overrides, 0.0)
        assert result["flops"] == 6 * (12 * 8 * 8 + 13 * 8 + 49805 * 9) * 4 * 8
    else:
        rival = sides.Rival(model, "float32", compiled=False)
        if not rival.is_installed:
            pytest.skip(f"{model} is not installed")
        result = sides.rival_step(rival, overrides, 0.0)
    assert result["steps"] == 3
    assert result["seconds"] > 0


def test_an_evaluation_gives_each_token_the_nats_of_a_loop_over_transformers(module):
    pytest.importorskip("transformers")
    models, loop = module("models"), module("evaluate")
    torch.manual_seed(1)
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 8, "vocab_size": 1500}
    model = compose_config(["model=base", "model.init=gpt2"]).model
    net = GPT(build(GPTConfig, "model", {**plain(model), **shape})).eval()
    theirs = models.transformers_gpt2(net.config).eval()
    theirs.load_state_dict(models.transformers_weights(net.state_dict()))
    documents = [np.arange(size) * 7 % 1500 for size in (3, 40, 1, 8, 9)]
    cut = [window for ids in documents for window in document_windows(ids, 1499, 8, 8)]
    ours = loop.own_nats(SimpleNamespace(net=net), cut, torch.float32)
    assert len(ours) == 61
    torch.testing.assert_close(ours, loop.transformers_nats(theirs, cut, 3), atol=1e-5, rtol=0)


def test_the_page_of_the_evaluation_begins_with_three_sentences(module):
    files, script = module("results"), module("evaluate")
    result = {
        "tokens": 1000,
        "rounds": [{"float32": 1.0, "bfloat16": 0.5, "transformers": t} for t in (2.0, 3.0, 2.5)],
        "differences": {
            "float32": {"token": 2e-6, "loss": 1e-7}, "bfloat16": {"token": 0.03, "loss": 1e-4},
        },
    }  # fmt: skip
    machine = {"machine": "2 threads", "instructions": ["avx2"], "transformers": "5", "commit": "0"}
    kinds = {k: {**machine, "configs": {"base": result}} for k in module("machine").KINDS}
    text = files.wrapped(script.page(kinds))
    assert too_wide(prose_of_markdown(text)) == []
    text = " ".join(text.split())
    assert "the nats that `transformers` gives it, to 2e-06 nats" in text
    assert "| base | 400 | 1,000 | 2.50 (2.00 to 3.00) | 2.0e-06 nats | 5.00 (4.00 to 6.00)" in text


def test_the_gpu_page_is_written_at_toy_size_without_a_gpu(module, monkeypatch, capsys):
    """A method of the loss that cannot run is a row that says why."""
    gpu, sides = module("gpu"), module("gpu_sides")
    if sides.DEVICE.type == "cuda":
        pytest.skip("compiles every side on a GPU, which takes minutes")
    monkeypatch.setattr(sides, "METHODS", ("auto", "dense", "absent"))
    dense = sides.next_token_loss

    def next_token_loss(*args):
        if args[-1] == "absent":
            raise ImportError("absent is not installed")
        return dense(*args)

    monkeypatch.setattr(sides, "next_token_loss", next_token_loss)
    monkeypatch.setattr(gpu, "product_rate", lambda seconds: 100e9)
    monkeypatch.setattr(gpu, "EXPERIMENTS", {"mini": ["experiment=memorize"]})
    monkeypatch.setattr(
        "sys.argv", ["gpu.py", "--toy", "--stdout", "--configs", "mini", "--no-comparison"]
    )
    gpu.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| mini")]
    names = [row.split(" | ")[1] for row in rows]
    assert names == [
        "minigpt",
        "bare loop",
        "dense float32, bare",
        "minigpt, loss=dense",
        "minigpt, loss=absent",
        "dense",
        "absent",
    ]
    measured = [name for name, row in zip(names, rows, strict=True) if row.endswith("% |")]
    assert measured == [*names[:4], "dense"]
    assert "not run: loss" in rows[4]
    assert "not run: absent is not installed" in rows[6]


def test_a_large_text_is_opened_from_sparse_files(module, tmp_path):
    scale, files = module("scale"), module("results")
    scale.write_sparse_store(tmp_path, 3)
    opened = scale.open_store(str(tmp_path))
    assert opened["tokens"] == 30_000_000
    assert sum(path.stat().st_blocks for path in tmp_path.glob("*.bin")) == 0
    differences = {"train/loss": 2e-6, "grad_norm": 4e-4}
    speeds = {1: [100.0, 200.0], 2: [150.0, 220.0]}
    page = files.wrapped(scale.page(speeds, 20, differences, [opened], 3))
    assert too_wide(prose_of_markdown(page)) == []
    assert "train 1.30 (1.10 to 1.50) times as many tokens a second as one" in " ".join(
        page.split()
    )


def test_prose_is_filled_and_the_rest_of_a_page_stays(module):
    page = "# T\n\na\nb\n- c\n  d\n\n| x |\n|---|\n\n```sh\ne\nf\n```\n"
    assert module("results").wrapped(page) == (
        "# T\n\na b\n- c d\n\n| x |\n|---|\n\n```sh\ne\nf\n```\n"
    )
    assert (
        module("results").wrapped("word " * 30) == "word " * 19 + "word\n" + "word " * 9 + "word\n"
    )


def test_the_page_on_memory_is_written_from_a_run(module, tiny, type_train, monkeypatch, capfd):
    short = ["trainer.max_epochs=1", "trainer.limit_train_batches=1", "model.block_size=48"]
    assert type_train(*tiny, *short, "hydra.run.dir=run", "name=toy").code == 0
    monkeypatch.setattr("sys.argv", ["memorization.py", "run", "--windows", "5", "--stdout"])
    module("memorization").main()
    page = capfd.readouterr().out
    assert too_wide(prose_of_markdown(page)) == []
    text = " ".join(page.split())
    assert "**toy** shows too little to tell: given 16 tokens, it brings back the next 32" in text
    assert "| verdict | **unknown** |" in text
    assert "| back after 8 tokens: own, held-out | 0.0%, 0.0% |" in text
    assert "python train.py data=files" in text


def test_each_part_of_the_network_is_timed_beside_the_plain_one(module, monkeypatch, capsys):
    parts = module("parts")
    monkeypatch.setattr(parts, "VOCAB_SIZE", 50)
    monkeypatch.setattr("sys.argv", ["parts.py", "--rounds", "1", "--batch-size", "1", "--stdout"])
    parts.main()
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[1]: line for line in lines if line.startswith("|")}
    assert {"plain", *parts.PARTS} < rows.keys()
    assert "| 425,984 |" in rows["plain"]  # 2 tables of 50, 128 positions, 2 blocks, a norm
    assert "| -16,384 |" in rows["rotary"]  # without 128 positions
    assert rows["plain"].endswith("| 1.00 (1.00 to 1.00) |")


def test_the_page_of_the_memory_estimate_says_how_many_are_near(module, monkeypatch, capsys):
    memory = module("memory")
    mib = 2**20
    measured = iter([{"measured": 100 * mib}, {"measured": 80 * mib}] * 2)
    estimates = {"mini": 84 * mib, "gpt2, batch 1": 48 * mib}
    thresholds = []

    def run_script(script, *arguments, folder):
        thresholds.append(memory.os.environ.get(memory.THRESHOLD))
        name = "gpt2, batch 1" if "model=gpt2" in arguments else "mini"
        return {**next(measured), "estimate": estimates[name]}

    monkeypatch.delenv(memory.THRESHOLD, raising=False)
    monkeypatch.setattr(memory, "run_script", run_script)
    monkeypatch.setattr("sys.argv", ["memory.py", "--stdout", "--configs", *estimates])
    memory.main()
    page = capsys.readouterr().out
    assert thresholds == [None, "65536"] * 2
    assert too_wide(prose_of_markdown(page)) == []
    assert "| mini | 84 | 80 | 1.05 | 100 | 0.84 |" in page
    text = " ".join(page.split())
    assert "off what is needed in 1 of 2 configurations (0.60 to 1.05 times as much)" in text
    assert "off what is held by default in 1 of 2 configurations (0.48 to 0.84" in text
