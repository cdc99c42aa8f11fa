"""A tokenizer trained on the training split alone, with exactly as many ids as asked for."""

import json
import random
import re
import shutil
from collections import Counter
from itertools import pairwise

import pytest

from minigpt.errors import UserError
from minigpt.text.document import Document
from minigpt.tokens import train_tokenizer, writer
from minigpt.tokens.bpe_training import merged_tokens
from minigpt.tokens.byte_pairs import TrainedTokenizer
from minigpt.tokens.manifest import parse_manifest
from minigpt.tokens.prepare import prepare
from minigpt.tokens.split import Digest, HeldOut
from minigpt.tokens.store import TokenStore
from minigpt.tokens.tokenizer import from_spec
from minigpt.tokens.trainer_text import cut_long_words, within_memory
from minigpt.tokens.training_sample import training_sample

TRAIN_ALL = HeldOut(0, 0)


@pytest.fixture
def own(forty):
    """The config of forty short files with a tokenizer of their own, with changes."""
    return lambda **changes: forty(**{"tokenizer": "bpe-300", "end_of_text": True, **changes})


def tokenizer_of(store):
    return from_spec(store.manifest.tokenizer)


def texts_of(store, split="train"):
    tokenizer = tokenizer_of(store)
    ids = store.tokens(split)
    return [
        tokenizer.decode(ids[d.start : d.start + d.tokens - 1].tolist())
        for d in store.documents(split)
    ]


def refuse_to_train(monkeypatch):
    def train(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(train_tokenizer, "merged_tokens", train)


# What is learned.


def test_each_token_is_the_most_frequent_pair_of_those_before_it():
    rng = random.Random(0)
    text = " ".join("".join(rng.choices("abcde", k=rng.randrange(1, 6))) for _ in range(500))
    words = Counter(re.findall(" ?[a-z]+", text))
    split = {word: [bytes([byte]) for byte in word.encode()] for word in words}
    for token in merged_tokens([text[:700], text[700:]], 257 + 80):
        pairs = Counter()
        for word, parts in split.items():
            for pair in pairwise(parts):
                pairs[pair] += words[word]
        (best,) = [pair for pair in pairs if pair[0] + pair[1] == token]
        assert pairs[best] == max(pairs.values())
        for parts in split.values():
            i = 0
            while i < len(parts) - 1:
                if (parts[i], parts[i + 1]) == best:
                    parts[i : i + 2] = [token]
                i += 1


def test_a_cut_between_two_words_changes_nothing_and_neither_does_the_order():
    texts = ["the tide, the tide ", "and the boats", " go out"]
    assert merged_tokens(texts, 270) == merged_tokens(texts[::-1], 270)
    assert merged_tokens(["".join(texts[1:]), texts[0]], 270) == merged_tokens(texts, 270)


def test_a_pair_that_occurs_once_becomes_no_token():
    assert merged_tokens(["ab cd"], 8192) == []
    assert merged_tokens(["ab ab"], 8192) == [b"ab"]


def test_the_end_of_text_is_the_last_id_and_the_bytes_are_the_first():
    tokenizer = TrainedTokenizer([b"th", b"the"])
    assert (tokenizer.name, tokenizer.n_vocab, tokenizer.end_of_text) == ("bpe-259", 259, 258)
    assert tokenizer.encode("the tch") == [257, ord(" "), ord("t"), ord("c"), ord("h")]
    assert tokenizer.decode([257, 258]) == "the<|endoftext|>"
    assert tokenizer.bytes_per_id().tolist() == [1] * 256 + [2, 3, 0]


# Which text it is learned from.


def test_held_out_documents_have_no_influence(own, corpus):
    store = prepare(own()).store
    assert store.manifest.documents["val"] > 3
    everything = [path.read_text() for path in corpus.glob("*.txt")]
    merged = tokenizer_of(store).merged
    assert merged == merged_tokens(texts_of(store), 300)
    assert merged != merged_tokens(everything, 300)


def test_a_training_text_that_equals_a_held_out_file_has_no_influence(own, corpus, tmp_path):
    text = "xyzzy " * 50
    (corpus / "40.txt").write_text(text)
    (tmp_path / "held.txt").write_text(text)
    with_it = prepare(own(val_fraction=0.0, test_fraction=0.0)).store
    held = prepare(own(val_fraction=0.0, test_fraction=0.0, val_files=[f"{tmp_path}/held.txt"]))
    assert b"xyzzy" in tokenizer_of(with_it).merged
    assert b"xyzzy" not in tokenizer_of(held.store).merged


def test_a_mixture_gives_its_training_documents(data, corpus, tmp_path):
    lines = [json.dumps({"text": f"{i} other tides, other tides"}) for i in range(30)]
    (tmp_path / "b.jsonl").write_text("\n".join(lines))
    files = {"a": f"{corpus}/*.txt", "b": f"{tmp_path}/b.jsonl"}
    sources = {name: {"source": "files", "files": [path]} for name, path in files.items()}
    store = prepare(data("mix", sources=sources, tokenizer="bpe-290", val_fraction=0.3)).store
    assert {document.domain for document in store.documents("train")} == {"a", "b"}
    assert tokenizer_of(store).merged == merged_tokens(texts_of(store), 290)


@pytest.mark.parametrize(
    "changes",
    [
        {"end_of_text": False},
        {"canaries": 1},
        {"subset": {"fraction": 0.5, "seed": 1, "complement": False}},
    ],
    ids=str,
)
def test_what_changes_no_split_reads_the_same_ids(own, monkeypatch, changes):
    plain = prepare(own()).store
    refuse_to_train(monkeypatch)
    other = prepare(own(**changes)).store
    assert other.folder != plain.folder
    assert other.manifest.tokenizer == plain.manifest.tokenizer


def documents(*texts):
    return [Document(f"{i}", text, "", None) for i, text in enumerate(texts)]


def sample(texts, max_bytes=10**6, document_tokens=None, max_tokens=None, rule=TRAIN_ALL):
    return training_sample(documents(*texts), rule, max_bytes, document_tokens, max_tokens)


def test_a_large_text_gives_the_documents_with_the_smallest_hashes_that_fit():
    rng = random.Random(2)
    texts = [f"{i} " + "é" * rng.randrange(40) for i in range(200)]
    by_hash = sorted(texts, key=lambda text: Digest(text).key)
    expected, size = [], 0
    for text in by_hash:
        size += len(text.encode())
        if size > 1000:
            break
        expected.append(text)
    for order in (texts, texts[::-1], by_hash, by_hash[::-1]):
        chosen = sample(order, max_bytes=1000)
        assert [*chosen.texts()] == expected
        assert (chosen.bytes, chosen.is_whole) == (sum(len(t.encode()) for t in expected), False)
    assert sample(texts).is_whole
    assert sorted(sample(texts).texts()) == sorted(texts)


def test_a_long_document_is_held_up_to_the_limit_and_cut_between_characters():
    pieces = Document("long", iter(["é" * 300, "b" * 500]), "", None)
    chosen = training_sample([pieces], TRAIN_ALL, 601, None, None)
    assert "".join(chosen.texts()) == "é" * 300 + "b"
    assert [*sample(["é" * 300], max_bytes=5).texts()] == ["éé"]


def test_words_without_end_are_cut_and_all_other_text_stays_as_it_is():
    long, spaces = "é" * 600, " " * 300
    pieces = [*cut_long_words(f"tide {long}, {spaces}x")]
    assert pieces == ["tide " + "é" * 256, "é" * 256, "é" * 88 + ", " + " " * 255, " " * 45 + "x"]
    assert [*cut_long_words("the tide " * 1000)] == ["the tide " * 1000]
    assert [*cut_long_words("")] == []


def test_text_that_repeats_no_word_is_read_until_it_fills_the_memory():
    texts = [b"a bb ccc", b"ccc, bb a", b"dddd eeeee", b"f"]
    assert within_memory(texts, most=16) == texts[:3] == within_memory(texts, most=100)[:3]
    assert within_memory(texts, most=10) == [*texts[:2], b"ddd"]
    assert within_memory([b"x" * 50], most=7) == [b"x" * 7]


def test_empty_and_repeated_and_held_out_documents_are_left_out():
    texts = ["a", "", "a", "b"]
    rule = HeldOut(0, Digest("b").place + 1e-9)
    kept = [t for t in ("a", "b") if rule.split(Digest(t).place) == "train"]
    assert [*sample(texts, rule=rule).texts()] == kept != ["a", "b"]
    assert sorted(sample(texts).texts()) == ["a", "b"]


def test_a_text_cut_by_tokens_gives_as_many_bytes_of_its_beginning():
    texts = ["a" * 10, "b" * 10, "c" * 10]
    chosen = sample(texts, max_tokens=15)
    assert sorted(chosen.texts()) == ["a" * 10, "b" * 4]  # an end of text is a token, too
    assert not chosen.is_whole
    assert sorted(sample(texts, document_tokens=3).texts()) == ["aaa", "bbb", "ccc"]
    assert sorted(sample(texts, document_tokens=3, max_tokens=6).texts()) == ["aaa", "bb"]


def test_a_tokenizer_of_the_beginning_is_trained_on_nothing_beyond_it(own):
    store = prepare(own(tokenizer="bpe-270", max_tokens=500)).store
    beginning = "".join(texts_of(store))
    assert merged_tokens([beginning], 8192)[:2] == tokenizer_of(store).merged[:2]
    origin = origin_of(store)
    assert origin["bytes"] <= 500
    assert not origin["is_whole"]


def origin_of(store):
    (path,) = (store.folder.parent / "tokenizers").glob("*.json")
    return json.loads(path.read_text())["origin"]


# Sizes and names.


def test_the_vocabulary_has_exactly_the_size_asked_for(own):
    for n_vocab in (257, 258, 300):
        manifest = prepare(own(tokenizer=f"bpe-{n_vocab}")).store.manifest
        assert manifest.tokenizer["n_vocab"] == n_vocab
        assert manifest.largest_id == n_vocab - 1  # the end of text


def test_more_ids_than_the_text_gives_are_refused_with_what_it_gives(own):
    with pytest.raises(
        UserError, match="data.tokenizer=bpe-8192: .* of training text give"
    ) as error:
        prepare(own(tokenizer="bpe-8192"))
    way_out = re.search("set data.tokenizer=(bpe-[0-9]+), or give more text", str(error.value))
    assert prepare(own(tokenizer=way_out[1])).made
    with pytest.raises(UserError, match="raise data.tokenizer_bytes=100 or data.max_tokens=999"):
        prepare(own(tokenizer="bpe-8192", tokenizer_bytes=100, max_tokens=999))


def test_without_training_text_one_line_says_so(own, corpus):
    names = [f"{corpus}/*.txt"]
    with pytest.raises(UserError, match="data.tokenizer=bpe-300: there is no training text; give"):
        prepare(own(val_files=names))


@pytest.mark.parametrize("name", ["bpe-256", "bpe-0", "bpe-1000001"])
def test_a_size_that_no_tokenizer_can_have_is_refused(own, name):
    with pytest.raises(
        UserError, match=f"data.tokenizer={name}: a vocabulary has 257 ids at least"
    ):
        own(tokenizer=name)


@pytest.mark.parametrize("name", ["bpe-", "bpe-8k", "bpe--300", "bpe-٣٠٠"])
def test_a_size_that_is_not_a_number_is_refused(own, name):
    with pytest.raises(UserError, match=f"data.tokenizer={name}: bpe- and the number of ids, such"):
        own(tokenizer=name)


def test_only_a_store_has_a_tokenizer_that_nobody_names(own):
    with pytest.raises(UserError, match="data.tokenizer is null, which only data=store can have"):
        own(tokenizer=None)


# Files, and where they are kept.


def test_a_tokenizer_is_trained_once_and_named_by_its_text(own, corpus, monkeypatch, capsys):
    first = prepare(own()).store
    assert capsys.readouterr().err == (
        "reading the text for a tokenizer of 300 ids\ntraining it on the training text, 0.0 MB\n"
    )
    with monkeypatch.context() as patch:
        refuse_to_train(patch)
        shutil.rmtree(first.folder)
        assert prepare(own()).store.manifest == first.manifest
        assert capsys.readouterr().err == ""
    (corpus / "00.txt").write_text("something else, that is something else")
    prepare(own())
    assert len([*(first.folder.parent / "tokenizers").glob("files-bpe-300-*.json")]) == 2


def test_a_stopped_preparation_goes_on_with_the_same_tokenizer(own, monkeypatch, corpus):
    monkeypatch.setattr(writer, "PART_TOKENS", 200)
    whole = prepare(own(root=f"{corpus}/whole")).store
    end_part = writer._Writer.end_part

    def stopped(self):
        if len(self.parts) == 2:
            raise KeyboardInterrupt
        end_part(self)

    with monkeypatch.context() as patch:
        patch.setattr(writer._Writer, "end_part", stopped)
        with pytest.raises(KeyboardInterrupt):
            prepare(own())
    refuse_to_train(monkeypatch)
    store = prepare(own()).store
    assert store.manifest == whole.manifest
    assert store.verify() == []


def test_a_stop_while_it_is_trained_leaves_no_tokenizer(own, monkeypatch, tmp_path):
    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_tokenizer, "merged_tokens", stopped)
        with pytest.raises(KeyboardInterrupt):
            prepare(own())
    assert not [*(tmp_path / "stores" / "tokenizers").glob("*.json")]
    assert prepare(own()).made


def test_text_that_changes_while_a_tokenizer_is_trained_leaves_none(own, corpus, monkeypatch):
    def changing(texts, n_vocab):
        (corpus / "20.txt").write_text("changed")
        return merged_tokens(texts, n_vocab)

    with monkeypatch.context() as patch:
        patch.setattr(train_tokenizer, "merged_tokens", changing)
        with pytest.raises(UserError, match="20.txt was changed while it was read"):
            prepare(own())
    assert not [*corpus.parent.glob("stores/tokenizers/*.json")]


def file_of(store, tmp_path, n_vocab=300):
    """A copy of the tokenizer's file, under a name that a user would choose."""
    (path,) = (store.folder.parent / "tokenizers").glob(f"*-{n_vocab}-*.json")
    return str(shutil.copy(path, tmp_path / "mine.json"))


def test_the_file_of_the_same_text_is_the_same_store(own, tmp_path, capsys):
    store = prepare(own()).store
    capsys.readouterr()
    again = prepare(own(tokenizer=file_of(store, tmp_path)))
    assert (again.made, again.store.folder) == (False, store.folder)
    assert capsys.readouterr().err == ""


def test_the_file_of_another_text_is_used_and_said(own, data, tmp_path, capsys):
    tokenizer = tokenizer_of(prepare(own()).store)
    other = tmp_path / "other"
    other.mkdir()
    for i in range(9):
        (other / f"{i}.txt").write_text(f"{i} other words of the tide")
    file = file_of(prepare(own()).store, tmp_path)
    config = data(files=[f"{other}/*.txt"], tokenizer=file)
    capsys.readouterr()
    store = prepare(config).store
    assert capsys.readouterr().err == (
        f"data.tokenizer={file} was trained on other text, or on another training split of this "
        "one; its ids are used as they are\n"
    )
    assert store.manifest.tokenizer == tokenizer.spec()
    assert store.folder.name.startswith("files-bpe-300-")
    assert prepare(config).store.folder == store.folder
    assert capsys.readouterr().err == ""


def test_a_store_is_not_read_with_another_tokenizer_than_its_own(own, tmp_path):
    store = prepare(own()).store
    file = file_of(store, tmp_path)
    other = prepare(own(tokenizer="bpe-270")).store
    plain = prepare(own(tokenizer="gpt2")).store

    def opened(store, tokenizer):
        return prepare(own(source="store", files=[str(store.folder)], tokenizer=tokenizer)).store

    for tokenizer in (None, "bpe-300", file):
        assert opened(store, tokenizer).folder == store.folder
    for wrong, name, tokenizer in (
        (other, "bpe-270", "bpe-300"), (other, "bpe-270", file), (plain, "gpt2", "bpe-300"),
        (other, "bpe-270", "gpt2"), (other, "bpe-270", "char"),
    ):  # fmt: skip
        message = (
            f"data.tokenizer={tokenizer}: the ids of the store {wrong.folder} are those of "
            f"tokenizer {name} .fingerprint [0-9a-f]+.; leave data.tokenizer out"
        )
        with pytest.raises(UserError, match=message):
            opened(wrong, tokenizer)


def other_kind(content):
    return {"model": {}}, "is not a tokenizer that minigpt trained"


def other_version(content):
    return {**content, "version": 2}, "version 2 of a tokenizer's file, and this minigpt reads 1"


def other_tokens(content):
    return {**content, "merged": content["merged"].replace("t", "s")}, "is damaged .its tokens do"


def other_letters(content):
    return {**content, "merged": "日本"}, "is damaged .a token has a character that stands for no"


def without_origin(content):
    return {k: v for k, v in content.items() if k != "origin"}, "is damaged .'origin'"


@pytest.mark.parametrize(
    "damage", [other_kind, other_version, other_tokens, other_letters, without_origin]
)
def test_a_damaged_file_is_refused_in_one_line(own, tmp_path, damage):
    file = tmp_path / "mine.json"
    content = json.loads((tmp_path / file_of(prepare(own()).store, tmp_path)).read_text())
    content, message = damage(content)
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"mine.json.* {message}.*data.tokenizer=.*--out"):
        prepare(own(tokenizer=str(file)))


def test_a_file_that_is_missing_or_not_json_is_refused_in_one_line(own, tmp_path):
    with pytest.raises(UserError, match="no such tokenizer: .*a.json; .*minigpt tokenizer data="):
        prepare(own(tokenizer=f"{tmp_path}/a.json"))
    (tmp_path / "a.json").write_bytes(b"\xff\x00")
    with pytest.raises(UserError, match="a.json is not readable .UnicodeDecodeError.;"):
        prepare(own(tokenizer=f"{tmp_path}/a.json"))


def test_a_manifest_without_the_tokens_is_broken(own):
    store = prepare(own()).store
    content = json.loads(store.manifest.to_json())
    assert TokenStore(store.folder).manifest == parse_manifest(content)
    del content["tokenizer"]["merged"]
    with pytest.raises(ValueError, match="tokenizer has no merged"):
        parse_manifest(content)


def test_a_damaged_spec_is_refused():
    spec = TrainedTokenizer([b"th"]).spec()
    assert from_spec(spec).encode("th") == [256]
    with pytest.raises(UserError, match="tokenizer bpe-258: it is damaged"):
        from_spec({**spec, "merged": "ht"})
