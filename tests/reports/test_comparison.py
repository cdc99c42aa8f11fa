"""The findings and files of a comparison, for runs with known figures."""

import csv
import errno
import html
import math
import os
import re
import subprocess
import sys

import pytest

from minigpt.errors import UserError
from minigpt.ordinary_file import read_text
from minigpt.reports.comparable import best_first, comparable
from minigpt.reports.compared_runs import find_runs
from minigpt.reports.comparison import compare
from minigpt.reports.differing_keys import differing_keys
from minigpt.reports.findings import findings
from minigpt.reports.plots import costs, curves, heat_map
from minigpt.reports.tables import comparison_table
from minigpt.runs import run_folder
from minigpt.runs.metrics import MetricsWriter
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import HeldOutText, Status
from tests.conftest import REPOSITORY
from tests.written_runs import MODEL, write_report_b, write_run


def test_an_effect_is_between_runs_that_differ_in_one_setting(tmp_path):
    said = findings(find_runs([write_report_b(tmp_path)]))
    assert said[0] == (
        "Best: 2, held-out loss 4.846 (perplexity 127.2). Whether the others are worse is not "
        "known: with one seed, and without figures of several documents, nothing says how far "
        "chance goes."
    )
    lr = next(line for line in said if line.startswith("optimizer.lr"))
    assert lr == (
        "optimizer.lr 0.0005 to 0.001: held-out loss 0.010 nats higher, perplexity +1.0%, time "
        "-2%; one seed and no figures of several documents, so chance is not ruled out."
    )
    width = next(line for line in said if line.startswith("model.n_embd"))
    assert width.startswith(
        "model.n_embd 128 to 256 (and data.batch_size 32 to 16): held-out loss 0.221 nats lower, "
        "perplexity -19.8%, time +60%"
    )


def test_several_seeds_separate_an_effect_from_chance(tmp_path):
    for seed, noise in ((1, 0.0), (2, 0.02), (3, -0.02)):
        write_run(tmp_path / f"a{seed}", 5.0 + noise, seed=seed)
        write_run(tmp_path / f"b{seed}", 4.99 + noise, seed=seed, optimizer__lr=5e-4)
        write_run(tmp_path / f"c{seed}", 4.5 + noise, seed=seed, optimizer__lr=2.5e-4)
    said = findings(find_runs([tmp_path]))
    assert said[0] == "Best: lr=0.00025, held-out loss 4.500 (perplexity 90.0), mean of 3 seeds."
    assert said[1] == (
        "Nothing else is as good: all others are worse by more than chance (corrected for 2 "
        "comparisons)."
    )
    assert any("over 3 seeds the same settings differ by a standard deviation of 0.020" in line
               for line in said)  # fmt: skip
    effects = [line for line in said if line.startswith("optimizer.lr")]
    # The error is 0.02 * sqrt(2 / 3); Student's t with four degrees of freedom 2.776, and 0.941.
    assert effects == [
        "optimizer.lr 0.00025 to 0.0005: held-out loss 0.490 nats higher (95% interval 0.445 to "
        "0.535), perplexity +63.2%, time +0%; 3 seeds; p < 0.001 corrected for 2 comparisons; "
        "0.061 nats would mostly have been seen.",
        "optimizer.lr 0.0005 to 0.001: no difference seen: held-out loss 0.010 nats higher (95% "
        "interval -0.035 to 0.055), perplexity +1.0%, time +0%; 3 seeds; p = 0.573 corrected for 2 "
        "comparisons; 0.061 nats would mostly have been seen.",
    ]


def test_instability_and_gaps_are_reported_with_the_name_of_the_run(tmp_path):
    write_run(tmp_path / "calm", 5.0)
    write_run(tmp_path / "wild", 5.5, train=3.0, seed=2, losses={30: 9.0}, norms={30: 40.0})
    said = " ".join(findings(find_runs([tmp_path])))
    assert (
        "Nothing diverged: the largest rise of the training loss between two logged steps" in said
    )
    assert (
        "4.40 nats (wild), the largest gradient norm 40.0, 40 times its run's median (wild)" in said
    )
    assert "from +0.30 nats (calm) to +2.50 (wild)" in said


def test_runs_are_ranked_by_held_out_loss_finished_ones_first(tmp_path):
    write_run(tmp_path / "a", 5.0)
    write_run(tmp_path / "b", 4.0)
    write_run(tmp_path / "c", 3.0, status=Status.INTERRUPTED)
    write_run(tmp_path / "d", 3.0, status=Status.DIVERGED, reason="the loss is nan at step 3")
    runs = best_first(find_runs([tmp_path]))
    assert [run.name for run in runs][:2] == ["b", "a"]
    said = " ".join(findings(runs))
    assert "Diverged: d" in said
    assert "d diverged: the loss is nan at step 3" in said


def test_a_run_that_is_found_twice_is_not_a_second_seed(tmp_path):
    write_run(tmp_path / "a", 5.0)
    write_run(tmp_path / "b" / "a", 5.0)
    write_run(tmp_path / "c", 4.0, optimizer__lr=5e-4)
    assert not any("over" in line and "seeds" in line for line in findings(find_runs([tmp_path])))
    assert len(find_runs([tmp_path, tmp_path / "a", tmp_path / "." / "c"])) == 3


def test_keys_that_only_change_together_are_reported_together(tmp_path):
    write_run(tmp_path / "none", 5.0)
    write_run(tmp_path / "deep", 4.8, model__n_layer=4)
    write_run(tmp_path / "tied", 4.5, model__tie_weights=True, model__init="torch")
    write_run(tmp_path / "wide", 4.0, model__n_embd=256, data__batch_size=16)
    write_run(tmp_path / "wide_deep", 3.9, model__n_embd=256, data__batch_size=16, model__n_layer=4)
    runs = find_runs([tmp_path])
    effects = [line.partition(",")[0] for line in findings(runs) if line.startswith("model.")]
    assert effects == [
        "model.n_embd 128 to 256 (and data.batch_size 32 to 16): held-out loss 0.950 nats lower",
        "model.n_layer 2 to 4: held-out loss 0.150 nats lower",
        "model.init gpt2 to torch (and model.tie_weights False to True): held-out loss 0.500 nats "
        "lower",
    ]


def test_a_random_search_is_not_reported_pair_by_pair(tmp_path):
    for i in range(8):
        write_run(tmp_path / str(i), 5.0 - i / 10, optimizer__lr=1e-3 + i * 1e-4,
                  model__dropout=(i * 3 % 8) / 10)  # fmt: skip
    assert not any(" to " in line.partition(":")[0] for line in findings(find_runs([tmp_path])))


def test_an_infinite_perplexity_and_a_row_cut_short_do_not_stop_the_report(tmp_path):
    write_run(tmp_path / "a", 5.0)
    write_run(tmp_path / "b", 900.0, optimizer__lr=1.0)
    with (tmp_path / "a" / "metrics.csv").open("a") as file:
        file.write(",1.0\n")
    said = findings(compare([tmp_path], tmp_path / "out"))
    assert "perplexity +inf%" in " ".join(said)


@pytest.mark.parametrize(
    ("logged", "axes"),
    [(["train/loss", "val/loss"], 6), (["train/loss"], 3), (["val/loss"], 3), (["grad_norm"], 0)],
    ids=str,
)
def test_what_was_not_logged_has_no_axes(tmp_path, logged, axes):
    write_run(tmp_path / "a", 5.0)
    metrics = RunFolder(tmp_path / "a").metrics
    metrics.unlink()
    log = MetricsWriter(metrics)
    log.append(10, dict.fromkeys(logged, 5.0))
    log.close()
    assert curves(find_runs([tmp_path])).count('<g id="axes_') == axes


def test_different_budgets_and_unequal_spending_are_not_called_fair(tmp_path):
    for name, tokens, budget in (("a", 1000, 1000), ("b", 2000, 2000), ("c", 900, 1000)):
        write_run(tmp_path / name, 5.0, seed=tokens)
        run = RunFolder(tmp_path / name)
        run.write_config({**run.read_config(), "budget": {"tokens": budget, "flops": None}})
        run.write_summary(run.read_summary().model_copy(update={"tokens_seen": tokens}))
    said = findings(find_runs([tmp_path]))
    assert any(line.startswith("Not given the same: budget.tokens was 1000, 2000") for line in said)
    said = findings(find_runs([tmp_path / "a", tmp_path / "c"]))
    assert any(
        "Not given the same: budget.tokens was 1000; the runs had up to 1.1" in x for x in said
    )


def test_bits_per_byte_stand_beside_the_losses_where_they_are_known(tmp_path):
    write_run(tmp_path / "known", 5.0)
    write_run(tmp_path / "older", 5.1)
    run = RunFolder(tmp_path / "known")
    text = HeldOutText(documents=3, tokens=50, bytes=200, loss=4.0, loss_stderr=0.1,
                       bits_per_byte=1.4427, bits_per_byte_stderr=0.0361, accuracy_at_1=0.3,
                       accuracy_at_5=0.5)  # fmt: skip
    run.write_summary(run.read_summary().model_copy(update={"evaluation": {"test": text}}))
    columns, cells = comparison_table(find_runs([tmp_path]), [])
    place = columns.index("bits per byte")
    assert [line[place] for line in cells] == ["1.443 ± 0.036", ""]
    compare([tmp_path], tmp_path / "out")
    with (tmp_path / "out" / "runs.csv").open(newline="") as file:
        assert [row["bits_per_byte"] for row in csv.DictReader(file)] == ["1.4427", ""]


def test_only_keys_that_differ_and_affect_training_are_named(tmp_path):
    write_run(tmp_path / "x", 5.0, name="one")
    write_run(tmp_path / "y", 5.0, name="two", optimizer__lr=1.0, seed=2)
    assert differing_keys(find_runs([tmp_path])) == ["optimizer.lr", "seed"]


def test_an_older_run_differs_in_no_key_that_it_does_not_name(tmp_path):
    write_run(tmp_path / "older", 5.0)
    write_run(tmp_path / "newer", 5.0, model__norm="layer", model__logit_softcap=None)
    write_run(tmp_path / "other", 5.0, model__norm="rms")
    older, newer, other = find_runs([tmp_path / name for name in ("older", "newer", "other")])
    assert differing_keys([older, newer]) == []
    assert differing_keys([older, other]) == ["model.norm"]
    assert older.flops == newer.flops > 0


def test_all_files_have_the_same_figures_and_need_no_network(tmp_path):
    out = tmp_path / "out"
    compare([write_report_b(tmp_path / "runs")], out)
    with (out / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["2", "1", "0"]
    assert rows[0]["best_val_loss"] == "4.846"
    assert rows[0]["parameters"] == "27344384"
    markdown = (out / "report.md").read_text()
    assert "| 2 | 0.0005 | 256 | 16 | 27,344,384 | 4.846 | 127.2 | 4.846 | 127.2 |" in markdown
    page = (out / "report.html").read_text()
    assert not re.search(r"(src|href)=[\"']?(https?:|//)|@import|url\((?!#)", page)
    assert " &lt;b&gt;" in page  # a sample is text, never markup
    assert "currentColor" not in (out / "curves.svg").read_text()
    for part in ("git checkout abc", "python train.py x=1"):
        assert part in page


def test_two_hundred_runs_are_reported(tmp_path):
    for i in range(200):
        write_run(
            tmp_path / f"{i}", 5 + math.sin(i), optimizer__lr=1e-4 * (1 + i % 20), seed=i // 20
        )
    runs = compare([tmp_path], tmp_path / "out")
    assert len(runs) == 200
    assert (tmp_path / "out" / "runs.csv").read_text().count("\n") == 201
    assert (tmp_path / "out" / "report.html").stat().st_size < 5_000_000


def test_a_folder_without_runs_is_refused_by_name(tmp_path, type_minigpt):
    typed = type_minigpt("compare", "nowhere")
    assert (typed.code, typed.err) == (
        2,
        "error: nowhere is not a folder; name run folders or a sweep's\n",
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no run of minigpt, nor does a folder"):
        find_runs([tmp_path / "empty"])


@pytest.mark.parametrize("name", ["config.yaml", "summary.json"])
def test_a_run_that_cannot_be_read_is_named_and_not_left_out(tmp_path, monkeypatch, name):
    write_run(tmp_path / "a", 5.0)
    write_run(tmp_path / "b", 4.9)

    def broken(path, *arguments):
        if path == tmp_path / "b" / name:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return read_text(path, *arguments)

    monkeypatch.setattr(run_folder, "read_text", broken)
    message = rf"b/{name} cannot be read \(Input/output error\); it may be whole"
    with pytest.raises(UserError, match=message):
        compare([tmp_path], tmp_path)


def test_a_folder_without_a_summary_is_a_run_that_failed(tmp_path):
    write_run(tmp_path / "a", 5.0)
    (tmp_path / "a" / "summary.json").unlink()
    (run,) = find_runs([tmp_path])
    assert run.summary.status is Status.FAILED
    assert run.summary.reason == "it stopped before its first step"


def test_folders_of_other_programs_are_left_out_and_reported_once(tmp_path, type_minigpt):
    write_run(tmp_path / "runs" / "a", 5.0)
    for name in ("x", "y"):
        (tmp_path / "runs" / name / ".hydra").mkdir(parents=True)
        (tmp_path / "runs" / name / ".hydra" / "config.yaml").write_text("db: {user: me}\n")
    typed = type_minigpt("compare", "runs")
    assert typed.code == 0
    assert typed.err == (
        "left out: 2 folders whose configuration is not a run's, such as runs/x/.hydra\n"
    )
    assert "One run" in (tmp_path / "runs" / "report.md").read_text()


def test_an_epoch_without_a_validation_has_an_empty_cell(tmp_path):
    write_run(tmp_path / "a", 5.0)
    run = RunFolder(tmp_path / "a")
    summary = run.read_summary()
    last = summary.epochs[0].model_copy(update={"epoch": 2, "val_loss": None})
    run.write_summary(summary.model_copy(update={"epochs": [*summary.epochs, last]}))
    (compared,) = compare([tmp_path / "a"], tmp_path / "out")
    assert math.isnan(compared.gap)
    with (tmp_path / "out" / "runs.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["gap"] == ""
    assert row["best_val_loss"] == "5"


def test_divergence_is_not_mentioned_if_no_run_trained(tmp_path):
    run = RunFolder(tmp_path / "a")
    run.write_config({"name": "a", "seed": 1, "model": dict(MODEL), "optimizer": {}, "trainer": {},
                      "data": {"batch_size": 32}})  # fmt: skip
    sentences = findings(find_runs([tmp_path]))
    assert sentences == ["a failed: it stopped before its first step"]


def test_a_notebooks_plot_backend_has_no_effect(tmp_path):
    write_run(tmp_path / "a", 5.0)
    backend = "module://matplotlib_inline.backend_inline"
    done = subprocess.run(
        [sys.executable, "-m", "minigpt.commands.main", "compare", "a"], cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": backend, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "a" / "report.html").stat().st_size > 10_000


def test_the_command_to_run_again_is_quoted_for_the_shell(tmp_path):
    overrides = [
        "hydra.run.dir=my runs/a,(b)=[c]",
        "data.files=['a b.txt',\"c'd.txt\"]",
        "x=$HOME `ls`;*",
    ]
    write_run(tmp_path / "runs" / "a", 5.0)
    run = RunFolder(tmp_path / "runs" / "a")
    run.write_summary(run.read_summary().model_copy(update={"overrides": overrides}))
    compare([tmp_path / "runs"], tmp_path)
    page = (tmp_path / "report.md").read_text()
    (command,) = re.findall(r"^python train.py .*$", page, re.MULTILINE)
    script = f"python() {{ printf '%s\\0' \"$@\"; }}; {command}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split("\0")[:-1] == ["train.py", *overrides]


def test_the_tokens_of_a_step_grow_with_the_batches(tmp_path):
    write_run(tmp_path / "run", 3.0)  # 100 steps of 4,096 tokens
    config = RunFolder(tmp_path / "run").read_config()
    config["data"]["batch_warmup"] = {"start": 8, "steps": 60}
    RunFolder(tmp_path / "run").write_config(config)
    (run,) = find_runs([tmp_path])
    tokens = {step: tokens for step, tokens, _, _ in run.series("val/loss")}
    blocks = [8 + 24 * i // 60 for i in range(60)] + [32] * 40
    assert tokens == {
        step: pytest.approx(409_600 * sum(blocks[: int(step)]) / sum(blocks)) for step in tokens
    }
    assert len(tokens) > 1


def test_a_report_shows_what_a_strangers_files_hold_and_runs_none_of_it(tmp_path):
    write_run(tmp_path / "runs" / "<script>alert(1)<", 3.0, status=Status.FAILED,
              reason="a\n| b |\n<img src=x onerror=alert(2)>",
              data__source="=cmd|'/c calc'")  # fmt: skip
    run = RunFolder(tmp_path / "runs" / "<script>alert(1)<")
    changes = {"code_commit": "abc; touch canary", "overrides": ["a=```", "b=$(touch canary)"]}
    run.write_summary(run.read_summary().model_copy(update=changes))
    write_run(tmp_path / "runs" / "b", 2.0, data__source="sample")
    compare([tmp_path / "runs"], tmp_path)
    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    table = (tmp_path / "runs.csv").read_text()
    for markup in ("<script>alert", "<img"):
        assert markup not in page
        assert markup not in text
    assert "default-src 'none'" in html.unescape(page)
    assert "git checkout 'abc; touch canary'\n" in text
    assert "\n````sh\n" in text
    assert "failed: a | b | &lt;img src=x" in text.replace("\\|", "|")
    assert ",'=cmd|'/c calc'," in table


def test_names_of_runs_with_almost_the_same_loss_do_not_overlap(tmp_path):
    for name, val in (("a", 2.0), ("b", 2.001), ("c", 3.0)):
        write_run(tmp_path / name, val)
    runs = best_first(find_runs([tmp_path]))
    drawn = costs(runs, comparable(runs))
    assert [drawn.count(f">{name}<") for name in "abc"] == [2, 0, 2]  # in each of two panels


def test_a_heat_map_cell_shows_the_lowest_loss_of_its_runs_and_the_caption_says_so(tmp_path):
    for i, (lr, n_embd) in enumerate([(1e-3, 128), (1e-3, 256), (5e-4, 128), (5e-4, 256)]):
        for seed, val in ((1, 4.5), (2, 4.25)):
            write_run(tmp_path / f"{i}-{seed}", val, seed=seed, optimizer__lr=lr,
                      model__n_embd=n_embd)  # fmt: skip
    runs = compare([tmp_path], tmp_path)
    drawn = heat_map(comparable(runs), "optimizer.lr", "model.n_embd")
    assert (drawn.count(">4.250<"), drawn.count(">4.500<")) == (4, 0)
    assert ">lowest held-out loss (nats)<" in drawn
    page = (tmp_path / "report.html").read_text()
    assert "Each cell shows the lowest held-out loss of its runs." in page


def test_costs_are_drawn_where_a_compute_is_unknown_and_left_out_where_no_run_is_ranked(tmp_path):
    write_run(tmp_path / "failed", 2.0, status=Status.FAILED)
    runs = compare([tmp_path], tmp_path)
    assert costs(runs, comparable(runs)) == ""
    page = (tmp_path / "report.html").read_text()
    assert 'class="best"' not in page
    assert "<h2>Loss against size and compute</h2>" not in page
    write_run(tmp_path / "unknown", 2.0, model__n_layer="x")
    runs = find_runs([tmp_path])
    drawn = costs(runs, comparable(runs))
    assert drawn.count(">unknown<") == 1  # beside its parameters only
