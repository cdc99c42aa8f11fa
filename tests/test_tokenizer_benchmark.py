"""The benchmark of tokenizers runs at toy size and writes a page."""

import importlib
import json
import random

import pytest

from tests.conftest import REPOSITORY, WORDS
from tests.test_docs import prose_of_markdown, too_wide


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def notes(tmp_path):
    rng = random.Random(0)
    lines = [json.dumps({"text": f"{i} " + " ".join(rng.choices(WORDS, k=40))}) for i in range(200)]
    path = tmp_path / "notes.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def step(overrides, seconds):
    """A quarter of the time for three quarters of the bytes."""
    if "data.tokenizer=gpt2" in overrides:
        return {"seconds": 1.0, "tokens": 4096, "bytes_a_token": 4.0}
    return {"seconds": 0.25, "tokens": 4096, "bytes_a_token": 3.0}


def test_the_page_on_tokenizers_is_written_at_toy_size(module, notes, monkeypatch, capsys):
    benchmark, sides = module("tokenizer"), module("tokenizer_sides")

    def in_this_process(function, *arguments):
        return {"peak": 2**20, **json.loads(json.dumps(sides.FUNCTIONS[function](*arguments)))}

    monkeypatch.setattr(benchmark, "in_process", in_this_process)
    monkeypatch.setattr(benchmark, "TRAINERS", ("tokenizers", "gigatoken", "absent"))
    monkeypatch.setattr(benchmark, "QUICK_SIZES", (300,))
    monkeypatch.setattr(benchmark, "QUICK_STRINGS", 100)
    monkeypatch.setattr(sides, "STRINGS_AT_ONCE", 50)
    monkeypatch.setitem(sides.FUNCTIONS, "training_step", step)
    arguments = ["tokenizer.py", str(notes), "--quick", "--stdout", "--rounds", "1"]
    monkeypatch.setattr("sys.argv", arguments)
    benchmark.main()
    page = capsys.readouterr().out
    assert too_wide(prose_of_markdown(page)) == []
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    by_name = {row[0].split()[0]: row for row in rows if row}
    assert by_name["tokenizers"][4:] == ["yes", "100.0%, the first 43 in the same order"]
    assert by_name["absent"][1:] == [""] * 5
    assert "100 random strings" in page
    assert ": 0 have other ids than tiktoken's" in " ".join(page.split())
    assert "is 3.00 (3.00 to 3.00) times as much" in " ".join(page.split())
    assert len([row for row in rows if row and row[0] == "bpe-300"]) == 2
