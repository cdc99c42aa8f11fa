"""What a store holds, as a user asks for it."""

import json

import pytest

from tests.stores import write_store


@pytest.fixture
def overrides(corpus):
    return [
        "data=files",
        f"data.files=[{corpus}/*.txt]",
        "data.val_fraction=0.2",
        "data.tokenizer=gpt2",
    ]


def test_a_store_is_prepared_ahead_and_found_again(corpus, overrides, type_minigpt):
    (corpus / "99.txt").write_text((corpus / "00.txt").read_text())
    first = type_minigpt("prepare", *overrides)
    assert (first.code, first.err) == (0, "")
    assert "40 documents, " in first.out
    assert "made in" in first.out
    assert "left out: 1 duplicates, 0 empty documents" in first.out
    again = type_minigpt("prepare", *overrides)
    assert "up to date" in again.out
    short = type_minigpt("prepare", *overrides, "data.max_tokens=100000")
    assert "the text ended at " in short.out
    assert " of data.max_tokens=100,000" in short.out


def test_a_preparation_is_told_to_a_script(overrides, type_minigpt):
    first, again = (json.loads(type_minigpt("prepare", *overrides, "--json").out) for _ in "12")
    assert (first["made"], again["made"]) == (True, False)
    assert sum(first["documents"].values()) == 40
    assert first["tokens"] == again["tokens"]
    assert first["fingerprint"][:16] in first["folder"]
    found = json.loads(type_minigpt("inspect", first["folder"], "--json").out)
    assert (found["tokens"], found["tokenizer"]) == (first["tokens"], first["tokenizer"])


def test_a_store_is_inspected_by_its_configuration_or_its_folder(overrides, type_minigpt, tmp_path):
    typed = type_minigpt("inspect", *overrides, "--json", "--verify")
    assert (typed.code, typed.err) == (0, "")
    found = json.loads(typed.out)
    assert sum(found["documents"].values()) == 40
    assert found["domains"] == {
        "corpus": {"documents": 40, "tokens": sum(found["tokens"].values()), "share": 1.0}
    }
    assert found["verified"]
    assert found["largest_id"] == 50256
    assert found["top_tokens"][0]["share"] > 0.05
    assert sum(token["share"] for token in found["top_tokens"]) < 1
    assert " tide" in {token["text"] for token in found["top_tokens"]}
    assert "the tide" in found["block"] or "boats" in found["block"]
    typed = type_minigpt("inspect", found["folder"])
    for part in ("train", "corpus", "' tide'", "longest document", "distinct tokens"):
        assert part in typed.out


def test_the_share_of_a_token_is_its_count_over_all(type_minigpt, tmp_path):
    write_store(tmp_path / "store", [1, 1, 2], [1, 3])
    found = json.loads(type_minigpt("inspect", "store", "--json").out)
    assert [(t["id"], t["text"], t["share"]) for t in found["top_tokens"]] == [
        (1, "!", 0.6), (2, '"', 0.2), (3, "#", 0.2),
    ]  # fmt: skip
    assert (found["distinct_tokens"], found["block"]) == (3, '!!"!#')


def test_a_damaged_shard_is_named_by_verify(type_minigpt, tmp_path):
    write_store(tmp_path / "store", [1, 1, 2], [1, 3])
    (tmp_path / "store" / "train-00001.bin").write_bytes(b"\1\0\2\0")
    assert type_minigpt("inspect", "store").code == 0
    typed = type_minigpt("inspect", "store", "--verify")
    assert typed.code == 2
    assert typed.err == (
        "error: damaged, its sha256 differs: store/train-00001.bin; delete store and the store is "
        "made again\n"
    )


def test_a_folder_that_is_not_a_store_is_refused_by_name(type_minigpt, tmp_path):
    (tmp_path / "empty").mkdir()
    typed = type_minigpt("inspect", "empty")
    assert (typed.code, typed.err.count("\n")) == (2, 1)
    assert typed.err.startswith("error: empty is not a token store: it has no manifest.json")
