"""The verdict follows from the held-out text; a published report's figures stand beside ours."""

import pytest
from rich.console import Console

from minigpt.reports.run_report import deviation, print_report, verdict
from minigpt.reproductions.all_reports import REPRODUCTIONS
from minigpt.reproductions.report_a import ReportA
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import BestValidation, ComesBack, Epoch, Sample, Status, Summary, Test


def summary(train, val, **more):
    epochs = [
        Epoch(epoch=i + 1, step=10 * (i + 1), train_loss=t, train_perplexity=1.0, val_loss=v,
              val_perplexity=529_575.3, seconds=1.0)
        for i, (t, v) in enumerate(zip(train, val, strict=True))
    ]  # fmt: skip
    at = val.index(min(val))
    best = BestValidation(val_loss=val[at], val_perplexity=1.0, epoch=at + 1, step=10 * (at + 1))
    fields = {
        "parameters": 6_479_053, "batches_per_epoch": 1264, "vocab_size": 49_805,
        "test": Test(loss=8.0, perplexity=2980.96), "tokens_per_second": 9000.0,
        "wall_seconds": 12.3, "peak_memory_bytes": 2**30,
        "sample": Sample(prompt="Twice [a] day", text=", on"), **more,
    }  # fmt: skip
    return Summary(status=Status.FINISHED, epochs=epochs, best=best, **fields)


@pytest.mark.parametrize(
    ("train", "val", "begins"),
    [
        ([4.2, 1.5, 0.2], [8.3, 9.8, 13.1], "memorised, not learned"),
        ([7.6, 5.5, 4.9], [7.5, 7.3, 7.2], "memorising"),
        ([10.5, 9.8, 9.7], [10.2, 9.9, 9.7], "too early to say"),
        ([5.0, 4.0, 3.5], [5.1, 4.2, 4.4], "overfitting begins"),
        ([5.0, 4.0, 3.5], [5.1, 4.2, 3.8], "generalises"),
        ([5.0, 4.0, 3.5], [4.8, 3.9, 3.4], "generalises"),  # dropout: held-out can be below
    ],
)
def test_the_verdict_follows_from_the_held_out_loss(train, val, begins):
    assert verdict(summary(train, val)).startswith(begins)


@pytest.mark.parametrize(
    ("train", "held_out", "begins"),
    [(0.3, 0.0, "memorising: "), (0.004, 0.0, "too far apart: "), (0.05, 0.045, "too far apart: "),
     (0.3, None, "memorising: ")],
)  # fmt: skip
def test_a_gap_alone_is_not_called_memory_where_nothing_comes_back(train, held_out, begins):
    share = ComesBack(prefix=32, continuation=32, passages=200, train=train, train_not_repeated=0.0,
                      held_out_passages=50, held_out=held_out)  # fmt: skip
    apart = summary([7.6, 5.5, 4.9], [7.5, 7.3, 7.2], comes_back=share)
    assert verdict(apart).startswith(begins)


def test_without_held_out_loss_there_is_no_verdict():
    assert verdict(Summary(status=Status.FINISHED)) == "none: the run has no held-out loss"


def test_the_deviation_names_the_epoch_with_the_largest_difference():
    reference = {1: 4.24, 2: 1.55, 3: 0.88, 10: 0.23}
    text = deviation(summary([4.2, 1.5, 0.75], [8.0, 9.0, 10.0]), reference)
    assert "within 0.13 nats" in text
    assert "epoch 3: 0.75 against 0.88" in text


def test_report_as_figures_are_shown_only_for_its_own_experiment():
    assert ReportA().epoch_losses(summary([4.2], [8.0])) == {
        1: 4.24, 2: 1.55, 3: 0.88, 5: 0.40, 7: 0.28, 10: 0.23,
    }  # fmt: skip
    assert ReportA().epoch_losses(summary([4.2], [8.0], parameters=1)) is None
    assert ReportA().epoch_losses(summary([4.2], [8.0], batches_per_epoch=200)) is None


def test_a_printed_report_fits_a_terminal_and_keeps_brackets(tmp_path, capsys):
    run = RunFolder(tmp_path)
    run.write_summary(summary([4.2, 0.2], [8.3, 13.1]))
    print_report(run, REPRODUCTIONS, Console(width=80, highlight=False))
    out = capsys.readouterr().out
    assert "4.24" in out
    assert "Twice [a] day, on" in out
    assert f"tensorboard --logdir {tmp_path.parent}" in out
    assert "…" not in out  # nothing is cut off


def test_without_a_reproduction_the_table_has_no_published_column(tmp_path, capsys):
    run = RunFolder(tmp_path)
    run.write_summary(summary([4.2, 0.2], [8.3, 13.1]))
    print_report(run, console=Console(width=80, highlight=False))
    assert "report's" not in capsys.readouterr().out


def test_the_printed_prompt_can_be_encoded_by_the_tokenizer(tmp_path, capsys):
    for prompt, typed in (
        ("1 a's", "'--prompt=1 a'\"'\"'s'"),
        ("two\nlines", "--prompt=two"),
        ("half \ufffd", "--prompt=The"),
    ):
        run = RunFolder(tmp_path)
        run.write_summary(summary([4.2], [8.3], sample=Sample(prompt=prompt, text="")))
        print_report(run, console=Console(width=80, highlight=False))
        (command,) = [
            line for line in capsys.readouterr().out.splitlines() if line.startswith("generate")
        ]
        assert command.endswith(f" --which last {typed}")
