"""Documents that nearly repeat an earlier one are left out, and nothing else."""

import json
import random

import pytest

from minigpt.errors import UserError
from minigpt.tokens.engines import EngineConfig
from minigpt.tokens.prepare import prepare

pytest.importorskip("datatrove")

WORDS = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("a", "e", "i", "o", "u", "an", "or", "il")]


@pytest.fixture
def texts(tmp_path):
    """Twenty texts of 200 words; each fifth comes again later with one word changed."""
    rng = random.Random(1)
    documents = [rng.choices(WORDS, k=200) for _ in range(20)]
    for number in range(0, 20, 5):
        near = list(documents[number])
        near[100] = "changed"
        documents.append(near)
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": " ".join(d)}) + "\n" for d in documents))
    return [str(path)]


def names(store):
    return {document.name for split in ("train", "val") for document in store.documents(split)}


def test_the_later_of_two_that_are_nearly_the_same_is_left_out(texts, data, tmp_path, capfd):
    options = {"files": texts, "val_fraction": 0.2, "test_fraction": 0.0}
    everything = prepare(data(**options)).store
    unique = prepare(data(**options, near_duplicates={})).store
    assert names(everything) - names(unique) == {f"{texts[0]}:{line}" for line in (21, 22, 23, 24)}
    assert unique.manifest.fingerprint != everything.manifest.fingerprint
    other = prepare(data(**options, near_duplicates={"n_grams": 150})).store
    assert other.manifest.fingerprint != unique.manifest.fingerprint
    assert names(other) == names(everything)  # no run of 150 words is the same
    divided = prepare(
        data(**options, near_duplicates={}, root=str(tmp_path / "divided")),
        engine=EngineConfig("local", 2),
    ).store
    assert divided.manifest == unique.manifest
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"buckets": 0}, "data.near_duplicates.buckets must be above 0, got 0"),
        ({"threshold": 0.8}, "unknown key data.near_duplicates.threshold"),
        ({"seed": 2**40}, "data.near_duplicates.seed must be at most 4,294,967,295"),
    ],
)
def test_what_it_cannot_do_is_one_line(data, texts, keys, message):
    with pytest.raises(UserError, match=message):
        prepare(data(files=texts, near_duplicates=keys))
