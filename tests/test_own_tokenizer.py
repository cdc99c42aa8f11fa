"""A tokenizer of a corpus's own, from the command line to an exported model."""

import json

import gguf
import pytest
from transformers import AutoTokenizer

from minigpt.config import compose_config, plain
from minigpt.runs.checkpoints import read_checkpoint
from minigpt.runs.run_folder import RunFolder
from minigpt.tokens.tokenizer import from_spec, load_tokenizer
from tests.conftest import TEXT, run_folders

TEXTS = ["the tide comes in", "  boats, 12 o'clock!\n\n", "naïve 日本語 \U0001f600", ""]


@pytest.fixture
def own(tiny):
    """Overrides for a tiny run with a tokenizer of its own, and a head as `model=base` has it."""
    changed = ["data.tokenizer=char", "model.vocab_size=null"]
    return [
        "model=base",
        *(word for word in tiny if word not in changed),
        "data.tokenizer=bpe-300",
        "model.n_head=2",
        "trainer.max_epochs=1",
    ]


def test_a_run_learns_its_own_ids_and_everything_after_it_reads_them(
    own, corpus, type_train, type_minigpt, tmp_path
):
    # So few ids that documents are long enough to be asked for by memorization.
    typed = type_train(*own, "data.canaries=1", "data.tokenizer=bpe-260", "model.block_size=48")
    assert typed.code == 0, typed.err
    (run,) = run_folders(tmp_path)
    checkpoint = read_checkpoint(RunFolder(run).last)
    assert checkpoint["hyper_parameters"]["model"]["vocab_size"] == 260  # not GPT-2's 50,257
    tokenizer = from_spec(checkpoint["hyper_parameters"]["tokenizer"])
    assert RunFolder(run).read_summary().tokenizer.fingerprint == tokenizer.fingerprint

    text = type_minigpt("generate", str(run), "--prompt", "the tide", "--max-new-tokens", "4")
    assert text.out.startswith("the tide")
    evaluated = json.loads(type_minigpt("evaluate", str(run), "--json").out)
    assert evaluated["splits"]["val"]["bits_per_byte"] > 0
    for path in (tmp_path / "tokens" / "tokenizers").glob("*.json"):
        path.unlink()  # the checkpoint has all that is needed
    (corpus.parent / "other.txt").write_text(f"{TEXT}\n\n{TEXT} again\n\nand again\n\nand on")
    other = type_minigpt("evaluate", str(run), "data=files", "data.files=[other.txt]",
                         "--split", "train")  # fmt: skip
    assert (other.code, other.err) == (0, "")
    assert type_minigpt("explore", str(run)).code == 0
    known = type_minigpt("memorization", str(run), "--windows", "8")
    assert (known.code, known.err) == (0, "")
    check_exports(run, tokenizer, type_minigpt, tmp_path)


def check_exports(run, tokenizer, type_minigpt, tmp_path):
    """The exported folder has the run's tokenizer, and an import of it has it again."""
    assert type_minigpt("export", str(run), "out").code == 0
    theirs = AutoTokenizer.from_pretrained("out")
    for text in TEXTS:
        assert theirs(text)["input_ids"] == tokenizer.encode(text)
        assert theirs.decode(tokenizer.encode(text)) == text
    assert theirs.eos_token_id == 259
    assert len(theirs) == 260
    assert json.loads(type_minigpt("import", "out", "run", "--json").out)["tokenizer"] == "bpe-260"
    again = read_checkpoint(RunFolder(tmp_path / "run").best)["hyper_parameters"]["tokenizer"]
    assert again == tokenizer.spec()
    assert type_minigpt("export", str(run), "gguf", "--format", "gguf").code == 0
    fields = gguf.GGUFReader(tmp_path / "gguf" / "model.gguf").fields
    words = fields["tokenizer.ggml.tokens"].contents()
    vocabulary = theirs.get_vocab()
    assert words == sorted(vocabulary, key=lambda word: vocabulary[word])
    assert fields["tokenizer.ggml.eos_token_id"].contents() == 259


def test_a_run_resumes_with_its_own_tokenizer_and_with_no_other(own, type_train, tmp_path):
    assert type_train(*own, "trainer.max_steps=2").code == 0
    (run,) = run_folders(tmp_path)
    typed = type_train(f"resume={run}", "data.tokenizer=bpe-280")
    assert typed.code == 2
    assert "resume: the checkpoint has " in typed.err
    assert type_train(f"resume={run}", "trainer.max_steps=3").code == 0


def test_a_run_resumes_without_the_file_of_its_tokenizer(own, type_train, type_minigpt, tmp_path):
    data = [word for word in own if word.startswith("data") and "tokenizer" not in word]
    assert type_minigpt("tokenizer", *data, "--vocab-size", "300", "--out", "mine.json").code == 0
    assert type_train(*own, "data.tokenizer=mine.json", "trainer.max_steps=2").code == 0
    (run,) = run_folders(tmp_path)
    (tmp_path / "mine.json").unlink()
    typed = type_train(f"resume={run}", "data.tokenizer=other.json", "trainer.max_steps=3")
    assert typed.code == 2
    assert "no such tokenizer: " in typed.err
    assert type_train(f"resume={run}", "trainer.max_steps=3").code == 0
    assert RunFolder(run).read_summary().steps == 3


@pytest.mark.parametrize(
    ("tokenizer", "vocab_size"), [("gpt2", 50257), ("bpe-8192", None), ("char", None)]
)
def test_the_head_of_base_fits_the_tokenizer(tokenizer, vocab_size):
    config = compose_config(["model=base", f"data.tokenizer={tokenizer}"])
    assert plain(config.model)["vocab_size"] == vocab_size
    typed = compose_config(["model=base", f"data.tokenizer={tokenizer}", "model.vocab_size=60000"])
    assert plain(typed.model)["vocab_size"] == 60000


def test_a_store_brings_its_own_ids_to_the_model(own, type_minigpt, tmp_path):
    made = json.loads(type_minigpt("prepare", *own[1:-2], "--json").out)
    plan = ["model=base", "model.block_size=8", "data=store", f"data.files=[{made['folder']}]"]
    checked = json.loads(type_minigpt("check", *plan, "--json").out)
    assert (checked["tokenizer"], checked["vocab_size"]) == ("bpe-300", 300)


# `minigpt tokenizer`.


def test_the_command_trains_a_tokenizer_that_a_run_can_name(own, type_minigpt, tmp_path):
    data = [word for word in own if word.startswith("data") and "tokenizer" not in word]
    typed = type_minigpt("tokenizer", *data, "--vocab-size", "300", "--out", "mine.json")
    assert typed.code == 0
    assert typed.err.endswith("training it on the training text, 0.0 MB\n")
    assert typed.out.startswith("mine.json: 300 ids from 0.0 MB in ")
    assert "use it with data.tokenizer=mine.json" in typed.out
    again = json.loads(type_minigpt("tokenizer", *data, "--vocab-size", "300", "--json").out)
    assert not again["made"]
    assert (again["tokenizer"], again["vocab_size"], again["is_whole"]) == ("bpe-300", 300, True)
    by_name, by_file = (
        json.loads(type_minigpt("prepare", *data, f"data.tokenizer={name}", "--json").out)
        for name in ("bpe-300", "mine.json")
    )
    assert by_name["folder"] == by_file["folder"]
    assert again["file"] in {str(path) for path in (tmp_path / "tokens").glob("tokenizers/*")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--vocab-size", "256"],
            "--vocab-size=256: a vocabulary has 257 ids at least, the 256 by",
        ),
        (["--vocab-size", "8192"], "data.tokenizer=bpe-8192: "),
        (["--out", "corpus.txt"], "--out corpus.txt: the name has to end with .json, by which"),
        (["--out", "there.json"], "--out there.json exists already; name another file, or delete"),
        (["data.tokenizer=gpt2"], "data.tokenizer=gpt2: --vocab-size says what is trained; leave"),
        (["data=store", "data.files=[x]"], "data=store holds ids and no text; name the text its"),
        (["resume=x"], "resume=x: a tokenizer is trained before a run; leave it out"),
    ],
    ids=str,
)
def test_what_the_command_cannot_do_is_one_line(own, type_minigpt, tmp_path, arguments, message):
    (tmp_path / "there.json").write_text("precious")
    data = [word for word in own if word.startswith("data") and "tokenizer" not in word]
    typed = type_minigpt("tokenizer", *data, *arguments)
    assert typed.code == 2
    assert typed.err.splitlines()[-1].startswith(f"error: {message}")
    assert (tmp_path / "there.json").read_text() == "precious"


def test_inspect_shows_the_bytes_of_a_token_beside_gpt2s(own, corpus, type_minigpt):
    found = json.loads(type_minigpt("inspect", *own, "--json").out)
    texts = [path.read_text() for path in corpus.glob("*.txt")]
    size = sum(len(text.encode()) for text in texts)
    documents = sum(found["documents"].values())
    tokens = sum(found["tokens"].values()) - documents
    gpt2 = sum(len(load_tokenizer("gpt2").encode(text)) for text in texts)
    assert found["bytes_a_token"] == {
        "tokenizer": pytest.approx(size / tokens), "gpt2": pytest.approx(size / gpt2),
        "documents": documents, "is_whole": True,
    }  # fmt: skip
    shown = type_minigpt("inspect", *own).out
    assert f"{size / tokens:.2f} bytes a token, GPT-2's has {size / gpt2:.2f}\n" in shown
    plain = type_minigpt("inspect", *own, "data.tokenizer=gpt2").out
    assert f"{size / gpt2:.2f} bytes a token\n" in plain


def test_a_large_store_is_sampled_and_says_so(own, type_minigpt, monkeypatch):
    from minigpt.tokens import bytes_a_token

    monkeypatch.setattr(bytes_a_token, "COUNTED_TOKENS", 200)
    found = json.loads(type_minigpt("inspect", *own, "--json").out)
    every = -(-sum(found["tokens"].values()) // 200)
    assert every > 2
    assert found["bytes_a_token"]["documents"] == -(-40 // every)
    assert not found["bytes_a_token"]["is_whole"]
    assert f" (a sample of {-(-40 // every)} documents)" in type_minigpt("inspect", *own).out
