"""gigatoken's ids are tiktoken's, whatever the text."""

import random
import sys
import tempfile
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest

from minigpt.tokens import fast_encoder
from minigpt.tokens.bpe_training import merged_tokens
from minigpt.tokens.byte_pairs import TrainedTokenizer
from minigpt.tokens.fast_encoder import AGREE, DIFFER, UNKNOWN, FastEncoder, NotFastError
from minigpt.tokens.tokenizer import load_tokenizer

ENCODING = load_tokenizer("gpt2").encoding

# Planes 4 to 13 have no characters and 15 and 16 are for private use: there a sample will do.
POINTS = [*range(0xD800), *range(0xE000, 0x40000), *range(0x40000, 0x110000, 61)]

# How a character stands beside itself, letters, digits, other signs, spaces and contractions.
CONTEXTS = "a{0}a1{0}1!{0}! {0} {0}{0}'s{0}'ll\n{0}\n\n\t{0}  {0}"


def make():
    return FastEncoder(ENCODING._pat_str, ENCODING._mergeable_ranks, ENCODING.encode_to_numpy)


@pytest.fixture(scope="module")
def fast():
    return make()


def ids_of(texts):
    return [list(row) for row in ENCODING.encode_ordinary_batch(texts, num_threads=2)]


def assert_same_ids(fast, texts):
    for text, row, ids in zip(texts, fast.encode_batch(texts), ids_of(texts), strict=True):
        assert row.tolist() == ids, ascii(text)


def samples():
    """Two characters of each category of Unicode on which the engines agree, and GPT-2's signs."""
    found = {}
    for point in POINTS:
        found.setdefault(unicodedata.category(chr(point)), []).append(chr(point))
    chosen = {character for group in found.values() for character in (group[0], group[-1])}
    return sorted(chosen | set(" '\n\r\t\v\x1c\x85\xa0sdtmlvreSaé1²漢\u2028\u3000\ufeff😀\u200d"))


def test_every_character_in_every_context_has_tiktokens_ids(fast):
    for start in range(0, len(POINTS), 4096):
        fast._ask(POINTS[start : start + 4096])
    states = fast._states[POINTS]
    assert UNKNOWN not in states
    agreed = [chr(point) for point in np.array(POINTS)[states == AGREE]]
    blocks = [agreed[i : i + 1024] for i in range(0, len(agreed), 1024)]
    texts = ["\n".join(map(CONTEXTS.format, block)) for block in blocks]
    assert not any(map(fast._differs, texts))  # so these are gigatoken's own
    assert_same_ids(fast, texts)
    differ = [chr(point) for point in np.array(POINTS)[states == DIFFER]]
    assert_same_ids(fast, [CONTEXTS.format(character) for character in differ])


def test_all_neighbours_of_three_have_tiktokens_ids(fast):
    characters = samples()
    assert_same_ids(
        fast,
        ["\n".join(map("".join, product([first], characters, characters))) for first in characters],
    )


def test_texts_of_every_length_have_tiktokens_ids(fast):
    """gigatoken looks at 64 bytes at a time, so words lie across the borders in every way."""
    rng = random.Random(0)
    characters = samples()
    texts = ["".join(rng.choices(characters, k=rng.randrange(200))) for _ in range(5000)]
    words = ["the", " tide", "'ll", "  ", "\n\n", " 2024", "é", "漢字", "--", "\u2019s", "😀", " "]
    texts += ["".join(rng.choices(words, k=rng.randrange(100))) for _ in range(5000)]
    assert_same_ids(fast, texts)


def test_a_letter_that_only_one_engine_knows_goes_through_tiktoken(fast):
    text = "\U00018dda\u9023 and more"  # letters, the first since Unicode 17
    (row,) = fast_encoder._encode(fast._engine, [text])
    assert row.tolist() != ENCODING.encode_ordinary(text)
    assert_same_ids(fast, ["before", text, "after é"])
    assert_same_ids(fast, ["x" * fast_encoder.SCAN_CHARS + text])


def test_a_long_text_and_a_long_word_have_tiktokens_ids(fast):
    rng = random.Random(1)
    text = " ".join(rng.choice(["tide", "comes", "in,", "12", "é"]) for _ in range(500_000))
    assert_same_ids(fast, [text, "".join(rng.choices("abcd", k=100_000)), " " * 100_000])


@pytest.mark.parametrize(
    ("limit", "value"), [("MEMORY_GROWTH", -1 << 60), ("_resident_bytes", lambda: None)]
)
def test_an_engine_that_remembers_too_much_starts_anew_with_the_same_ids(monkeypatch, limit, value):
    monkeypatch.setattr(fast_encoder, "MEASURED_CHARS", 100)
    monkeypatch.setattr(fast_encoder, "BLIND_CHARS", 100)
    monkeypatch.setattr(fast_encoder, limit, value)
    fast = make()
    first = fast._engine
    assert_same_ids(fast, ["short"])
    assert fast._engine is first
    assert_same_ids(fast, ["the tide comes in " * 20])
    assert fast._engine is not first


def test_threads_get_the_same_ids_while_engines_start_anew(monkeypatch):
    monkeypatch.setattr(fast_encoder, "MEASURED_CHARS", 100)
    monkeypatch.setattr(fast_encoder, "MEMORY_GROWTH", -1 << 60)
    fast = make()
    texts = [f"the tide {i} \u6f22 comes in\n" * 40 for i in range(40)]
    with ThreadPoolExecutor(4) as pool:
        for text, rows in zip(
            texts, pool.map(fast.encode_batch, [[t] for t in texts]), strict=True
        ):
            assert rows[0].tolist() == ENCODING.encode_ordinary(text)


def test_without_room_for_a_new_engine_tiktoken_goes_on(monkeypatch):
    monkeypatch.setattr(fast_encoder, "MEASURED_CHARS", 100)
    monkeypatch.setattr(fast_encoder, "MEMORY_GROWTH", -1 << 60)
    fast = make()
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    for _ in range(2):
        assert_same_ids(fast, ["the tide comes in " * 20, "漢字"])
    assert fast._engine is None


def test_an_engine_that_splits_ascii_in_another_way_is_refused(monkeypatch):
    monkeypatch.setattr(fast_encoder._Question, "same_answer", lambda self, points: False)
    with pytest.raises(NotFastError, match="gigatoken splits ASCII text in another way"):
        make()


def test_with_awkward_imported_the_ids_are_the_same(fast):
    pytest.importorskip("awkward")
    assert_same_ids(fast, ["the tide", "", "comes in"])


def test_awkward_is_neither_imported_nor_kept_from_others(fast, monkeypatch):
    monkeypatch.delitem(sys.modules, "awkward", raising=False)
    texts = [f"the tide {i} " * 1000 for i in range(20)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fast.encode_batch, [texts] * 8))
    assert "awkward" not in sys.modules


def test_a_trained_table_gives_tiktokens_ids_on_random_strings_of_any_unicode():
    rng = random.Random(3)
    words = [*samples(), "the tide", " comes in", " 2024", "漢字"]
    text = "".join(rng.choices(words, k=20_000))
    trained = TrainedTokenizer(merged_tokens([text], 600))
    assert trained.n_vocab == 600
    fast = FastEncoder(trained.pattern, trained.ranks, trained._encode_to_numpy)
    texts = ["".join(map(chr, rng.choices(POINTS, k=rng.randrange(50)))) for _ in range(2000)]
    texts += ["".join(rng.choices(words, k=rng.randrange(50))) for _ in range(2000)]
    used = set()
    for text, row in zip(texts, fast.encode_batch(texts), strict=True):
        assert row.tolist() == trained.encode(text), ascii(text)
        assert trained.decode(row.tolist()) == text
        used.update(row.tolist())
    assert len(used) > 400
