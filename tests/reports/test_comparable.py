"""Runs that are ranked beside each other: by which figure, over which documents, and how sure."""

import pyarrow as pa
import pytest
from pyarrow import parquet

from minigpt.errors import UserError
from minigpt.evaluation import document_table
from minigpt.reports.comparable import best_first, comparable, measure_of
from minigpt.reports.compared_runs import find_runs
from minigpt.reports.comparison import compare
from minigpt.reports.differences import NATS
from minigpt.reports.findings import findings
from minigpt.reports.plots import costs
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import Status
from tests.written_runs import write_documents, write_run

LOSSES = [5.0, 3.0, 6.5, 4.0, 5.5]  # of five documents, far from each other


def said_of(folder):
    return findings(find_runs([folder]))


def test_a_difference_is_paired_over_documents_and_one_seed_is_said_not_to_be_covered(tmp_path):
    write_run(tmp_path / "a", 4.9)
    write_documents(tmp_path / "a", LOSSES)
    write_run(tmp_path / "b", 4.7, optimizer__lr=5e-4)
    # 0.2 nats better on each document, to within 0.02, which of themselves differ by nats.
    better = [0.20, 0.22, 0.19, 0.18, 0.21]
    write_documents(tmp_path / "b", [a - b for a, b in zip(LOSSES, better, strict=True)])
    said = said_of(tmp_path)
    assert said[:4] == [
        "Best: b, held-out loss 4.678 (perplexity 107.5).",
        "Nothing else is as good: all others are worse by more than chance over documents "
        "(corrected for 1 comparison).",
        "A setting that is 0.025 nats worse than the best would mostly have been seen, a smaller "
        "difference may be there unseen (5 documents and one seed, so the interval does not cover "
        "seeds).",
        "Seeds are not covered: each setting was trained with one, and another seed may change the "
        "order (seed=1,2,3 trains three).",
    ]
    effect = next(line for line in said if line.startswith("optimizer.lr"))
    assert "0.197 nats higher (95% interval 0.178 to 0.216)" in effect
    assert "5 documents and one seed, so the interval does not cover seeds; p < 0.001" in effect


def test_settings_of_one_seed_are_named_beside_those_of_several(tmp_path):
    for name, lr, loss, seed in (("a", 1e-3, 4.0, 1), ("b", 2e-3, 4.3, 1), ("c", 4e-3, 4.5, 1),
                                 ("d", 4e-3, 4.52, 2), ("e", 4e-3, 4.48, 3)):  # fmt: skip
        write_run(tmp_path / name, loss, optimizer__lr=lr, seed=seed)
        noise = [0.01 * (i + ord(name)) % 0.03 for i in range(5)]
        write_documents(tmp_path / name, [loss + n for n in noise])
    said = said_of(tmp_path)
    assert (
        "Seeds are not covered: the best was trained with one, and so were b, and another "
        "seed may change the order (seed=1,2,3 trains three)."
    ) in said
    assert any(line.startswith("Nothing else is as good: all others are worse by more than chance "
                               "(corrected for 2") for line in said)  # fmt: skip


def test_documents_that_differ_between_runs_are_refused_with_the_difference(tmp_path):
    for name, documents in (("a", LOSSES), ("b", LOSSES), ("c", [1.0, 1.0])):
        write_run(tmp_path / name, 5.0, name=name, seed=ord(name))
        write_documents(tmp_path / name, documents, tokens=(100, 50, 80, 120, 90)[: len(documents)])
    write_run(tmp_path / "d", 1.0, seed=4)
    write_documents(tmp_path / "d", LOSSES, tokens=(100, 50, 80, 120, 91))
    said = said_of(tmp_path)
    assert [line for line in said if line.startswith("Not ranked")] == [
        "Not ranked: c, whose held-out documents are not those of a: 3 documents are only in the "
        "first, such as 2.",
        "Not ranked: d, whose held-out documents are not those of a: 1 of 5 documents have other "
        "text, such as 4, 360 bytes against 364.",
    ]
    assert said[0].startswith("Best: a, b, held-out loss")
    assert {run.name for run in best_first(find_runs([tmp_path]))[:2]} == {"a", "b"}
    only = [line for line in said_of(tmp_path / "c") if line.startswith("Best")]
    assert only == ["Best: c, held-out loss 1.000 (perplexity 2.7)."]
    alone = findings(find_runs([tmp_path / "a", tmp_path / "c"]))
    assert not any(line.startswith("Best") for line in alone)


@pytest.fixture
def two_tokenizers(tmp_path):
    """A run with three times the loss a token, of tokens that stand for five times the bytes."""
    write_run(tmp_path / "words", 4.8)
    write_documents(tmp_path / "words", LOSSES)
    write_run(tmp_path / "letters", 1.6, model__n_embd=256)
    write_documents(tmp_path / "letters", [loss / 3 for loss in LOSSES], tokenizer="char",
                    tokens=[count * 4 - 1 for count in (100, 50, 80, 120, 90)],
                    bytes_a_token=1)  # fmt: skip
    return tmp_path


def test_a_failed_run_of_another_tokenizer_does_not_change_the_measure(two_tokenizers):
    letters = RunFolder(two_tokenizers / "letters")
    letters.write_summary(letters.read_summary().model_copy(update={"status": Status.FAILED}))
    runs = best_first(find_runs([two_tokenizers]))
    assert measure_of(runs) is NATS
    drawn = costs(runs, comparable(runs))
    assert ">held-out loss (nats)<" in drawn
    assert ">words<" in drawn
    assert ">letters<" not in drawn


def test_runs_of_different_tokenizers_are_ranked_by_bits_per_byte_and_it_is_said_why(
    two_tokenizers, tmp_path
):
    said = said_of(two_tokenizers)
    # 4.8 nats for four bytes are fewer bits a byte than 1.6 nats for one.
    assert said[0] == "Best: words, bits per byte 1.7583."
    assert (
        "Ranked by bits per byte: the runs have different tokenizers (char, gpt2), and nats a "
        "token of one cannot be compared with those of another, since their tokens stand for more "
        "or less text."
    ) in said
    effect = next(line for line in said if line.startswith("model.n_embd"))
    assert effect.startswith("model.n_embd 128 to 256: 0.5862 bits per byte more (95% interval ")
    assert "perplexity" not in effect
    runs = compare([two_tokenizers], tmp_path / "out")
    assert [run.name for run in runs] == ["words", "letters"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert ">bits per byte<" in page
    assert "held-out loss (nats)" not in page
    assert "held-out loss (nats)" not in page
    assert "their heights cannot be compared" in page


def test_where_the_tokenizer_is_the_same_nats_rank_and_nothing_is_said_of_bytes(tmp_path):
    for name, shift in (("a", 0.0), ("b", 0.1)):
        write_run(tmp_path / name, 5.0 + shift)
        write_documents(tmp_path / name, [loss + shift for loss in LOSSES])
    assert not any("bits per byte" in line for line in said_of(tmp_path))
    compare([tmp_path], tmp_path / "out")
    assert "held-out loss (nats)" in (tmp_path / "out" / "report.html").read_text()


def test_a_run_without_bits_per_byte_is_not_ranked_beside_another_tokenizer(two_tokenizers):
    (two_tokenizers / "words" / "documents.parquet").unlink()
    said = said_of(two_tokenizers)
    assert "Not ranked: letters, words, without bits per byte of held-out text." in said
    (line,) = [line for line in said if line.startswith("Not paired over documents")]
    assert "1 of 2 runs have no figures of their documents; minigpt evaluate " in line
    assert not any(line.startswith("Best") for line in said)


COLUMNS = {"split": ["val"], "name": ["a"], "tokens": [1], "bytes": [1], "nats": [1.0]}


def parquet_of(columns):
    content = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), content)
    return content.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not parquet", "ArrowInvalid"),
        (parquet_of({**COLUMNS, "nats": ["many"]}), "ArrowInvalid"),
        (parquet_of({**COLUMNS, "tokens": [[1]]}), "ArrowNotImplementedError"),
        (parquet_of({**COLUMNS, "bytes": [None]}), "it has empty cells"),
        (parquet_of({"split": ["val"]}), "ArrowInvalid"),
        (parquet_of({key: 4 * value for key, value in COLUMNS.items()}),
         "4 documents are more than 3"),
    ],
    ids=["text", "words", "lists", "empty", "columns", "rows"],
)  # fmt: skip
def test_a_damaged_table_of_documents_is_named_with_the_command_that_mends_it(
    tmp_path, monkeypatch, content, reason
):
    monkeypatch.setattr(document_table, "MOST_DOCUMENTS", 3)
    write_run(tmp_path / "a", 5.0)
    (tmp_path / "a" / "documents.parquet").write_bytes(content)
    with pytest.raises(UserError) as error:
        said_of(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}/a/documents.parquet cannot be read ({reason}); make it again with: "
        f"minigpt evaluate {tmp_path}/a"
    )


def test_the_table_shows_each_setting_beside_the_best(tmp_path):
    noise = [[0.01, -0.02, 0.0, 0.02, -0.01], [0.0, 0.01, -0.01, 0.0, 0.01],
             [-0.01, 0.0, 0.02, -0.01, 0.0]]  # fmt: skip
    for key, shift in ((1e-3, 0.0), (5e-4, 0.005), (2e-4, 0.5)):
        for seed in (1, 2, 3):
            folder = tmp_path / "runs" / f"{key}-{seed}"
            write_run(folder, 5.0 + shift, optimizer__lr=key, seed=seed)
            write_documents(folder, [loss + shift + e for loss, e in
                                     zip(LOSSES, noise[seed - 1], strict=True)])  # fmt: skip
    compare([tmp_path / "runs"], tmp_path)
    page = (tmp_path / "report.md").read_text()
    table = page.partition("## Which settings are best\n\n")[2].partition("\n\n")[0].splitlines()
    assert table[0] == (
        "| setting | seeds | held-out loss (nats) | above the lowest | 95% interval | p, corrected "
        "| verdict | would be seen |"
    )
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[2:]]
    assert [line[0] for line in cells] == ["lr=0.001", "lr=0.0005", "lr=0.0002"]
    assert [line[1] for line in cells] == ["3"] * 3
    assert [line[3] for line in cells] == ["", "0.005", "0.500"]
    assert [line[5] for line in cells][::2] == ["", "< 0.001"]
    assert [line[6] for line in cells] == ["lowest", "not told apart", "worse"]
    said = said_of(tmp_path / "runs")
    assert said[1] == (
        "Not told apart from the best: lr=0.0005 (corrected for 2 comparisons); 1 other is worse "
        "by more than chance."
    )


def test_a_run_that_was_evaluated_again_in_another_way_is_not_ranked(tmp_path):
    for name in "abc":
        write_run(tmp_path / name, 5.0, seed=ord(name))
        write_documents(tmp_path / name, LOSSES)
    summary = (tmp_path / "b" / "summary.json").read_text()
    write_documents(tmp_path / "b", [loss - 0.1 for loss in LOSSES])  # with more context
    (tmp_path / "b" / "summary.json").write_text(summary)
    said = said_of(tmp_path)
    assert said[0].startswith("Best: a, c, ")
    (line,) = [line for line in said if line.startswith("Not ranked")]
    assert line.startswith("Not ranked: b, evaluated again in another way, perhaps with more ")
    assert "minigpt evaluate " in line
