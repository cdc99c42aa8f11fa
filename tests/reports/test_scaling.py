"""A ladder of known law gives that law, its advice, and one clear line where it cannot."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from minigpt.config import build
from minigpt.errors import UserError
from minigpt.model.gpt import GPTConfig, matrix_parameters, training_flops_per_token
from minigpt.reports import scaling_study
from minigpt.reports.scaling_advice import Budget
from minigpt.reports.scaling_findings import reasons
from minigpt.reports.scaling_page import scaling_html
from minigpt.reports.scaling_runs import read_ladder
from minigpt.reports.scaling_study import study
from minigpt.runs.summary import Status
from minigpt.statistics.scaling_law import ScalingLaw
from tests.browser import CHROMIUM, seen_in_a_browser
from tests.written_ladders import LAW, VOCABULARY, write_ladder, write_rung
from tests.written_runs import MODEL


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(scaling_study, "RESAMPLES", 20)


def test_a_ladder_gives_back_the_law_of_its_losses(tmp_path):
    scaling = study(read_ladder([write_ladder(tmp_path)]))
    assert scaling.law.alpha == pytest.approx(LAW.alpha, rel=0.01)
    assert scaling.law.beta == pytest.approx(LAW.beta, rel=0.01)
    assert scaling.law.loss(1e30, 1e30) == pytest.approx(LAW.E, rel=0.01)
    assert len(scaling.ladder.runs) == 12
    assert scaling.deviation < 1e-4


def test_size_counts_the_parameters_of_matrix_products(tmp_path):
    """12 C^2 and 13 C a block with biases and norms; the head's table, not that of the tokens."""
    write_ladder(tmp_path)
    sizes = {run.size for run in read_ladder([tmp_path]).runs}
    assert sizes == {2 * (12 * c * c + 13 * c) + VOCABULARY * c for c in (32, 64, 96, 128)}


def test_a_ladder_with_repeated_text_gives_back_the_law_of_fresh_tokens(tmp_path):
    write_ladder(tmp_path, tokens=(1_000_000, 4_000_000, 16_000_000), unique=1_000_000)
    scaling = study(read_ladder([tmp_path]))
    assert scaling.law.beta == pytest.approx(LAW.beta, rel=0.01)
    (most,) = {run.effective_tokens for run in scaling.ladder.runs if run.tokens == 16_000_000}
    assert most == pytest.approx(1e6 + 15.39e6 * (1 - np.exp(-15 / 15.39)))


@pytest.mark.parametrize(
    ("settings", "unique"),
    [
        ({}, 500_000),  # each epoch reads another tenth
        ({"data__shuffle": False}, 10 * 16 * 128),
        ({"data__shuffle": False, "data__batch_warmup": {"start": 4, "steps": 5}}, 500_000),
    ],
)
def test_only_the_text_that_every_epoch_reads_is_repeated(tmp_path, settings, unique):
    for width in (32, 64, 96):
        for tokens in (100_000, 200_000, 400_000):
            run = write_rung(tmp_path / f"{width}-{tokens}", width, tokens, unique=500_000,
                             model__block_size=128, **settings)  # fmt: skip
            run.write_summary(run.read_summary().model_copy(update={"batches_per_epoch": 10}))
    assert read_ladder([tmp_path]).unique_tokens == unique


def test_the_largest_run_is_predicted_from_the_others(tmp_path):
    write_ladder(tmp_path)
    write_rung(tmp_path / "large", 256, 4_000_000, off=0.02)
    held_back = study(read_ladder([tmp_path])).held_back
    assert held_back.runs == ["large"]
    assert held_back.measured > held_back.predicted
    true = held_back.measured / np.exp(0.02)
    assert held_back.predicted == pytest.approx(true, abs=1e-4)
    assert held_back.error == pytest.approx(true - held_back.measured, abs=1e-4)
    model = {**MODEL, "vocab_size": VOCABULARY}
    large, next_to_it = (
        training_flops_per_token(build(GPTConfig, "model", {**model, **shape}))
        for shape in ({"n_embd": 256, "n_head": 8}, {"n_embd": 128, "n_head": 4})
    )
    assert held_back.times == pytest.approx(large / next_to_it)


def test_nothing_is_predicted_where_too_few_runs_would_be_left(tmp_path):
    write_ladder(tmp_path, widths=(32, 64), tokens=(1_000_000, 2_000_000, 4_000_000))
    write_rung(tmp_path / "large", 128, 4_000_000)
    scaling = study(read_ladder([tmp_path]))
    assert scaling.held_back is None
    assert any("No prediction was tried" in line for line in reasons(scaling))


def test_advice_for_operations_keeps_to_them_and_says_what_is_extrapolated(tmp_path):
    ladder = read_ladder([write_ladder(tmp_path)])
    most = max(run.flops for run in ladder.runs)
    inside = study(ladder, Budget(most / 16, "flops"))
    assert inside.asked.outside == []
    assert not any("extrapolation" in line for line in reasons(inside))
    assert inside.asked.flops == pytest.approx(most / 16)
    far = study(ladder, Budget(50 * most, "flops"))
    assert far.asked.outside[0] == "50.0 times the largest compute"
    assert any("This is an extrapolation: 50.0 times" in line for line in reasons(far))
    near = study(ladder, Budget(most / 1e4, "flops"))
    assert near.asked.outside[0].endswith(" times the smallest compute")


def test_hours_follow_from_the_speed_of_the_runs(tmp_path):
    """Speeds of the ladder are 20,000 tokens a second at width 64, and as 1 / width."""
    ladder = read_ladder([write_ladder(tmp_path)])
    asked = study(ladder, Budget(0.02, "hours")).asked
    assert asked.hours == pytest.approx(0.02)
    widths = sorted({run.network.n_embd for run in ladder.runs})
    sizes = sorted({run.size for run in ladder.runs})
    width = np.exp(np.interp(np.log(asked.size), np.log(sizes), np.log(widths)))
    assert asked.tokens == pytest.approx(72 * 20_000 * 64 / width, rel=1e-3)


def test_hours_without_a_speed_are_refused(tmp_path):
    for width in (32, 64, 128):
        for tokens in (1_000_000, 2_000_000, 4_000_000):
            write_rung(tmp_path / f"{width}-{tokens}", width, tokens, speed=None)
    ladder = read_ladder([tmp_path])
    assert study(ladder).table[0].hours is None
    with pytest.raises(UserError, match="--hours needs the speed of the runs"):
        study(ladder, Budget(1.0, "hours"))


def test_the_nearest_network_has_the_advised_size_and_a_rate_for_its_width(tmp_path):
    ladder = read_ladder([write_ladder(tmp_path)])
    scaling = study(ladder, Budget(4 * max(run.flops for run in ladder.runs), "flops"))
    words = dict(word.split("=") for word in scaling.overrides)
    shape = {"n_layer": 2, "n_head": int(words["model.n_head"]), "vocab_size": VOCABULARY,
             "n_embd": int(words["model.n_embd"])}  # fmt: skip
    size = matrix_parameters(build(GPTConfig, "model", {**MODEL, **shape}))
    assert size == pytest.approx(scaling.asked.size, rel=0.08)
    assert float(words["optimizer.lr"]) == pytest.approx(0.128 / shape["n_embd"], rel=0.05)
    assert float(words["budget.tokens"]) == pytest.approx(scaling.asked.tokens, rel=0.01)


def test_what_did_not_finish_is_left_out_and_said(tmp_path):
    write_ladder(tmp_path)
    write_rung(tmp_path / "bad", 160, 1_000_000, status=Status.DIVERGED, loss=9.0)
    endless = write_rung(tmp_path / "endless", 160, 2_000_000)
    summary = endless.read_summary()
    epoch = summary.epochs[0].model_copy(update={"val_loss": None})
    endless.write_summary(summary.model_copy(update={"epochs": [epoch]}))
    write_rung(tmp_path / "tuned", 160, 4_000_000, model__from="some/folder")
    ladder = read_ladder([tmp_path])
    assert len(ladder.runs) == 12
    assert ladder.left_out == [
        "bad (diverged: it broke)",
        "endless (it has no held-out loss at its end)",
        "tuned (it started from other weights (model.from))",
    ]


def test_of_several_learning_rates_the_best_counts(tmp_path):
    write_ladder(tmp_path)
    write_rung(tmp_path / "hot", 64, 1_000_000, off=0.1, lr=0.1)
    ladder = read_ladder([tmp_path])
    assert "hot" not in [run.name for run in ladder.runs]
    assert any("only the best counts; left out: 1." in note for note in ladder.notes)


def test_what_weakens_the_fit_is_said(tmp_path):
    write_ladder(tmp_path)
    write_rung(tmp_path / "other", 160, 1_000_000, model__dropout=0.5, scheduler__name="none")
    notes = " ".join(read_ladder([tmp_path]).notes)
    assert "The runs also differ in model.dropout, scheduler.name;" in notes
    assert "1 of 13 runs ended at their full learning rate, such as other." in notes


def test_one_seed_is_said_to_leave_out_what_a_seed_changes(tmp_path):
    one = study(read_ladder([write_ladder(tmp_path / "one")]))
    three = study(read_ladder([write_ladder(tmp_path / "three", seeds=(1, 2), noise=0.002)]))
    said = "the intervals do not cover what a seed changes"
    assert [any(said in line for line in reasons(s)) for s in (one, three)] == [True, False]


def test_runs_that_do_not_tell_where_the_loss_ends_are_not_trusted_far(tmp_path):
    endless = ScalingLaw(E=0.001, A=10.0, alpha=0.1, B=100.0, beta=0.3)
    scalings = [
        study(read_ladder([write_ladder(tmp_path / name, law=law)]))
        for name, law in (("endless", endless), ("usual", LAW))
    ]
    assert [any("E is near 0" in line for line in reasons(s)) for s in scalings] == [True, False]


@pytest.mark.parametrize(
    ("widths", "tokens", "missing"),
    [
        ((32, 64), (1_000_000, 2_000_000, 4_000_000),
         "here are 6 of 2 and 3; train 1 more of other sizes (model.n_embd, model.n_layer), or"),
        ((32, 64, 128), (1_000_000,), "here are 3 of 3 and 1; train 2 more of other lengths"),
    ],
)  # fmt: skip
def test_a_ladder_too_small_is_refused_with_what_is_missing(tmp_path, widths, tokens, missing):
    write_ladder(tmp_path, widths=widths, tokens=tokens)
    with pytest.raises(UserError) as refused:
        read_ladder([tmp_path])
    line = str(refused.value)
    assert "needs at least 6 finished runs of 3 sizes and 3 lengths" in line
    assert missing in line


def test_runs_of_different_tokens_are_refused(tmp_path):
    write_ladder(tmp_path)
    write_rung(tmp_path / "words", 64, 1_000_000, tokenizer="gpt2")
    with pytest.raises(UserError, match="2 different token stores .words: files in"):
        read_ladder([tmp_path])


def test_losses_that_do_not_fall_are_refused(tmp_path):
    for width in (32, 64, 128):
        for tokens in (1_000_000, 2_000_000, 4_000_000):
            write_rung(tmp_path / f"{width}-{tokens}", width, tokens, loss=2.0 + width / 100)
    with pytest.raises(UserError, match="does not fall with size and tokens"):
        study(read_ladder([tmp_path]))


def test_the_page_is_whole_escaped_and_names_its_papers(tmp_path):
    write_ladder(tmp_path / "runs", noise=0.003)
    write_rung(tmp_path / "runs" / "<b>", 64, 1_000_000, seed=2, status=Status.FAILED)
    scaling = study(read_ladder([tmp_path / "runs"]))
    page = scaling_html(scaling, "a <b>")
    assert re.findall(r"<h2>(.*?)</h2>", page) == [
        "The best size for a budget", "The law", "The runs",
    ]  # fmt: skip
    assert page.count("<svg") == 2
    assert "Scaling: a &lt;b&gt;" in page
    assert "Left out: &lt;b&gt; (failed: it broke)." in page
    for paper in ("Hoffmann et al., 2022", "Besiroglu et al. (2024)", "Porian et al., 2024",
                  "Pearce and Song, 2024", "Muennighoff et al., 2023"):  # fmt: skip
        assert paper in page
    assert not re.search(r"(src|href)=[\"']?(https?:|//)|@import|url\((?!#)", page)


PROBE = """
<script>
addEventListener("load", () => {
  document.title = JSON.stringify({
    asked: performance.getEntriesByType("resource").map(entry => entry.name)
      .filter(name => !name.startsWith("data:")),
    overflow: document.documentElement.scrollWidth - innerWidth,
    ink: getComputedStyle(document.querySelector("svg text")).fill,
  });
});
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_the_page_renders_in_the_dark_without_a_network(tmp_path):
    scaling = study(read_ladder([write_ladder(tmp_path / "runs")]))
    found = seen_in_a_browser(scaling_html(scaling, "x"), PROBE, tmp_path, "--window-size=500,2000",
                              dark=True)  # fmt: skip
    seen = SimpleNamespace(**found)
    assert seen.asked == []
    assert seen.overflow <= 0
    assert sum(map(int, re.findall(r"\d+", seen.ink)[:3])) > 600
