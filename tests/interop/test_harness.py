"""lm-eval's harness, which knows nothing of ours, gives an exported model our bits per byte."""

import importlib

import pytest

from minigpt.tokens.tokenizer import load_tokenizer
from tests.conftest import REPOSITORY
from tests.interop.checkpoints import write_checkpoint

TEXTS = [
    "The tide comes in and the tide goes out while boats wait for water over the bar.\n" * 3,
    "naïve café — 日本語\n\n  two  spaces",
    "a",
]


@pytest.mark.filterwarnings("ignore")  # of lm-eval and what it imports
def test_lm_eval_gives_our_bits_per_byte(type_minigpt, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    harness = importlib.import_module("harness")
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_CACHE"):
        monkeypatch.setenv(name, "1")  # which the harness sets too: undone after the test
    write_checkpoint(tmp_path / "a.ckpt", load_tokenizer("gpt2"), vocab_size=50257)
    assert type_minigpt("export", "a.ckpt", "out").code == 0
    documents = harness.write_documents(TEXTS, tmp_path)
    ours, _ = harness.ours(tmp_path / "a.ckpt", documents)
    theirs, _ = harness.theirs(tmp_path / "out", documents, tmp_path)
    assert ours == pytest.approx(theirs, rel=1e-5)
