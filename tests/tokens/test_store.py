"""A store reads as it was written, and a damaged one is refused."""

import json
import pickle
import resource

import numpy as np
import pytest

from minigpt.errors import UserError
from minigpt.tokens.store import TokenStore
from tests.stores import write_store
from tests.wrong_values import accepted


def test_shards_read_as_one_sequence(tmp_path):
    tokens = write_store(tmp_path, [1, 2, 3], [4], [5, 6]).tokens("train")
    assert len(tokens) == 6
    assert tokens[:].tolist() == [1, 2, 3, 4, 5, 6]
    assert tokens[2:5].tolist() == [3, 4, 5]
    assert tokens[6:9].tolist() == []
    assert tokens.rows(np.array([0, 2, 4]), 2).tolist() == [[1, 2], [3, 4], [5, 6]]


def test_a_window_reaches_over_an_empty_shard(tmp_path):
    tokens = write_store(tmp_path, [1, 2, 3], [], [4, 5]).tokens("train")
    assert tokens[:].tolist() == [1, 2, 3, 4, 5]
    assert tokens.rows(np.array([1, 3]), 2).tolist() == [[2, 3], [4, 5]]


def test_tokens_are_pickled_without_their_shards(tmp_path):
    tokens = write_store(tmp_path, [7] * 1_000_000).tokens("train")
    assert tokens[999_990:].tolist() == [7] * 10  # the shard is open
    content = pickle.dumps(tokens)
    assert len(content) < 2_000
    assert pickle.loads(content)[:3].tolist() == [7, 7, 7]


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path / "store", list(range(10)), [7, 8]).folder


def test_a_split_without_text_is_empty(store):
    assert len(TokenStore(store).tokens("val")) == 0


@pytest.mark.parametrize("size", [0, 19, 21, 40])
def test_a_shard_of_another_size_is_refused(store, size):
    (store / "train-00000.bin").write_bytes(bytes(size))
    message = f"train-00000.bin has {size} bytes, its manifest says 20; delete the folder"
    with pytest.raises(UserError, match=message):
        TokenStore(store)


def test_a_missing_shard_is_refused(store):
    (store / "train-00001.bin").unlink()
    with pytest.raises(UserError, match="train-00001.bin is missing; delete the folder"):
        TokenStore(store)


def test_a_shard_that_is_cut_short_while_it_is_read_is_one_line(store):
    tokens = TokenStore(store).tokens("train")
    assert tokens[:3].tolist() == [0, 1, 2]
    (store / "train-00000.bin").write_bytes(b"")  # to read on would end the process with SIGBUS
    for read in (lambda: tokens[:3], lambda: tokens.rows(np.array([0]), 3)):
        with pytest.raises(UserError, match="train-00000.bin was cut short while it was read; del"):
            read()


def test_a_shard_that_is_deleted_while_the_store_is_open_is_one_line(store):
    tokens = TokenStore(store).tokens("train")
    (store / "train-00001.bin").unlink()
    with pytest.raises(UserError, match=r"train-00001.bin cannot be read \(No such file"):
        tokens[:]


def test_a_store_of_more_shards_than_the_limit_of_open_files_is_read(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    store = write_store(tmp_path, *([i % 9] for i in range(150)))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (120, limits[1]))
        assert store.tokens("train")[:].tolist() == [i % 9 for i in range(150)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_flipped_byte_is_found_by_its_hash(store):
    assert TokenStore(store).verify() == []
    path = store / "train-00001.bin"
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    assert TokenStore(store).verify() == [path]


def test_an_id_beyond_the_stores_largest_is_refused_when_it_is_read(store):
    path = store / "train-00000.bin"
    content = bytearray(path.read_bytes())
    content[3] ^= 0x80
    path.write_bytes(content)
    tokens = TokenStore(store).tokens("train")
    message = "a shard has the id 32769, its manifest's largest is 9: the file is damaged"
    with pytest.raises(UserError, match=message):
        tokens.rows(np.array([0]), 5)
    with pytest.raises(UserError, match=message):
        tokens[:5]
    assert tokens[4:9].tolist() == [4, 5, 6, 7, 8]


def rewrite(store, **changes):
    path = store / "manifest.json"
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


@pytest.mark.parametrize(
    "broken", ["", "{", "[]", "{}", "7", '"version"', '{"version": 1e999}', "[" * 100_000]
)
def test_a_broken_manifest_is_refused(store, broken):
    (store / "manifest.json").write_text(broken)
    with pytest.raises(UserError, match="manifest.json is missing or broken .* delete the folder"):
        TokenStore(store)


def test_a_missing_manifest_is_refused(store):
    (store / "manifest.json").unlink()
    with pytest.raises(UserError, match="manifest.json is missing or broken"):
        TokenStore(store)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (99, "version 99, newer than the 3 .* use a newer minigpt, or delete"),
        (1, "version 1, older than the 3 .* delete the folder"),
    ],
)
def test_another_version_is_refused(store, version, message):
    rewrite(store, version=version)
    with pytest.raises(UserError, match=message):
        TokenStore(store)


SHARD = {"tokens": 10, "sha256": "", "list_bytes": 0, "list_sha256": ""}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"duplicates": None}, "it lacks or adds duplicates"),
        ({"duplicates": "many"}, "manifest.duplicates must be int, got 'many'"),
        ({"largest_id": 1.5}, "manifest.largest_id must be int, got 1.5"),
        ({"documents": {}}, "a split has no train"),
        ({"domains": []}, "manifest.domains must be dict"),
        ({"domains": {"a": {}}}, "domain a has no documents"),
        ({"longest": {}}, "longest has no name"),
        ({"tokenizer": {"name": "char", "n_vocab": 100, "fingerprint": ""}},
         "tokenizer has no alphabet"),
        ({"tokenizer": {}}, "tokenizer has no name"),
        ({"path": "/etc/passwd"}, "it lacks or adds path"),
        ({"shards": {"train": [SHARD], "val": [], "test": []}}, "shards of train do not add up"),
        ({"shards": {"train": [{**SHARD, "tokens": -1}], "val": [], "test": []}},
         "a shard of train has a tokens that is not a count"),
        ({"shards": {"train": [{"tokens": 12}], "val": [], "test": []}},
         "a shard of train has no sha256"),
        ({"shards": {"val": [], "test": []}}, "train"),
        ({"shards": ["../../secret"]}, "manifest.shards must be dict"),
        ({"largest_id": 100}, "its largest id is outside its tokenizer's vocabulary"),
        ({"dtype": "uint32"}, "its ids cannot be uint32"),
        ({"dtype": "object"}, "its ids cannot be object"),
        ({"tokens": {"train": 13, "val": 0, "test": 0}}, "do not add up to its tokens"),
    ],
)  # fmt: skip
def test_a_manifest_at_odds_with_itself_is_refused(store, change, message):
    rewrite(store, **change)
    with pytest.raises(UserError, match=f"manifest.json is broken .*{message}"):
        TokenStore(store)


def test_whatever_a_manifest_holds_in_place_of_a_value_is_one_line_or_as_good(store):
    path = store / "manifest.json"

    def read(content):
        path.write_text(json.dumps(content))
        TokenStore(store)

    taken = accepted(json.loads(path.read_text()), read, UserError)
    texts = ["text", "fingerprint", "longest.name", "tokenizer.name", "tokenizer.fingerprint",
             "tokenizer.alphabet", "shards.train.0.sha256",
             "shards.train.0.list_sha256"]  # fmt: skip
    assert taken == {(place, "'5'") for place in texts} | {
        ("domains", "{}"), ("domains.numbers", "missing"), ("shards.val", "[]"),
        ("shards.test", "[]"),
    }  # fmt: skip


def test_a_document_beyond_its_shard_is_refused(store):
    path = store / "train-00000.jsonl"
    path.write_text('["0","numbers",11]\n')
    rewrite_list(store, path)
    with pytest.raises(UserError, match="train-00000.jsonl names more tokens than its shard has"):
        [*TokenStore(store).documents("train")]


@pytest.mark.parametrize(
    "line", ['[1,"numbers",10]', '["0",null,10]', '["0","numbers",-1]', '["0","numbers",1.5]',
             '["0","numbers",true]', '{"a":1,"b":2,"c":3}', "[" * 5000, "\udc80"],
)  # fmt: skip
def test_a_line_that_names_no_document_is_refused(store, line):
    path = store / "train-00000.jsonl"
    path.write_bytes(line.encode("utf-8", "surrogateescape") + b"\n")
    rewrite_list(store, path)
    with pytest.raises(UserError, match="train-00000.jsonl (is missing or damaged|names more)"):
        [*TokenStore(store).documents("train")]


def rewrite_list(store, path):
    """The manifest with the size that a changed list has now."""
    shards = json.loads((store / "manifest.json").read_text())["shards"]
    shards["train"][0]["list_bytes"] = path.stat().st_size
    rewrite(store, shards=shards)


def test_a_manifest_cannot_lead_outside_its_folder(store):
    """No file is named in it: another split's name, a path among them, is refused."""
    content = json.loads((store / "manifest.json").read_text())
    shards = {**content["shards"], "../elsewhere/train": [SHARD]}
    rewrite(store, shards=shards)
    with pytest.raises(UserError, match="it has other splits than train, val and test"):
        TokenStore(store)
    shards = {**content["shards"]}
    shards["train"] = [{**shards["train"][0], "path": "/etc/passwd"}, shards["train"][1]]
    rewrite(store, shards=shards)
    assert TokenStore(store).tokens("train")[:].tolist() == [*range(10), 7, 8]
