"""The data of a page are those of its exploration, and the page is never too large."""

import base64
import gzip
import json
import re

import numpy as np
import pytest

from minigpt.evaluation.exploration import explore
from minigpt.reports import explorer_page as pages
from minigpt.reports.explorer_data import LARGEST, NOT_SCORED
from tests.explorations import model, stored

HELD_OUT = ["The sea rises 🌊 twice a day.", "It falls twice as well. " * 4]


def unpacked(html):
    """The head and the arrays of a page's data."""
    (text,) = re.findall(rb'id="data">([^<]*)<', html)
    content = gzip.decompress(base64.b64decode(text))
    base = 4 + int.from_bytes(content[:4], "little")
    head = json.loads(content[4:base])
    arrays = {
        name: np.frombuffer(content, dtype, size, base + offset)
        for name, (dtype, offset, size) in head["arrays"].items()
    }
    assert all((base + offset) % 8 == 0 for _, offset, _ in head["arrays"].values())
    return head, arrays


@pytest.mark.parametrize("tokenizer", ["gpt2", "char"])
def test_the_page_holds_what_the_networks_said(data, tmp_path, tokenizer):
    store = stored(lambda **more: data(tokenizer=tokenizer, **more), tmp_path / "t", HELD_OUT)
    found = explore([model(store), model(store, 2)], store)
    head, arrays = unpacked(pages.explorer_page(found, ["one", "two"]).html)
    assert [(run["name"], run["blocks"], run["heads"]) for run in head["runs"]] == [
        ("one", 2, 2), ("two", 2, 2),
    ]  # fmt: skip
    assert head["splits"] == ["val", "val", "train", "train"]
    ends = arrays["wordEnds"].tolist()
    words = [arrays["words"][a:b].tobytes() for a, b in zip([0, *ends], ends, strict=False)]
    ends = arrays["ends"].tolist()
    texts = [
        b"".join(words[i] for i in arrays["ids"][a:b].tolist()).decode()
        for a, b in zip([0, *ends], ends, strict=False)
    ]
    assert sorted(texts[:2]) == sorted(HELD_OUT)
    K = head["choices"]
    skipped = 0 if tokenizer == "gpt2" else 1
    for i, reading in enumerate(found.readings):
        decode = reading.model.tokenizer.token_bytes
        offset = 0
        for number, (start, rows) in enumerate(zip([0, *ends], reading.rows, strict=False)):
            part = slice(start + skipped, ends[number])
            np.testing.assert_allclose(arrays[f"nats{i}"][part] / 1000, rows.nats, atol=6e-4)
            np.testing.assert_array_equal(arrays[f"rank{i}"][part], rows.rank)
            choices = arrays[f"alternatives{i}"].reshape(-1, K)[part]
            assert [words[j] for j in choices.ravel()] == [decode(j) for j in rows.ids.ravel()]
            shares = arrays[f"probabilities{i}"].reshape(-1, K)[part] / LARGEST
            np.testing.assert_allclose(shares, rows.probabilities, atol=1e-5)
            assert (arrays[f"nats{i}"][start : start + skipped] == NOT_SCORED).all()
        for number, T in arrays[f"mapped{i}"].reshape(-1, 2).tolist():
            maps = reading.attention[number]
            for of_head in maps.reshape(-1, T, T):
                for row in range(T):
                    kept = arrays[f"attention{i}"][offset : offset + row + 1] / 255
                    np.testing.assert_allclose(kept, of_head[row, : row + 1], atol=0.002)
                    offset += row + 1
        assert offset == arrays[f"attention{i}"].size


def test_spans_are_counted_from_the_start_of_the_document(data, tmp_path):
    for tokenizer, skipped in (("gpt2", 0), ("char", 1)):

        def config(tokenizer=tokenizer, **more):
            return data(tokenizer=tokenizer, **more)

        store = stored(config, tmp_path / tokenizer, ["Twice a day. " * 8])
        found = explore([model(store)], store)
        for rows in found.readings[0].rows:
            rows.rank[:] = 7
        found.readings[0].rows[0].rank[2:19] = 0
        _, arrays = unpacked(pages.explorer_page(found, ["run"]).html)
        assert arrays["spans0"].tolist() == [0, 2 + skipped, 17]


def test_a_page_that_would_be_too_large_has_shorter_documents(data, tmp_path, monkeypatch):
    texts = [f"{i} {'so many words ' * 40}" for i in range(20)]
    store = stored(lambda **more: data(tokenizer="char", **more), tmp_path / "text", texts)
    found = explore([model(store)], store)
    whole = pages.explorer_page(found, ["run"])
    assert whole.shown is found
    limit = len(whole.html) - 8_000
    monkeypatch.setattr(pages, "LARGEST", limit)
    page = pages.explorer_page(found, ["run"])
    assert limit * 0.7 < len(page.html) <= limit
    assert page.shown.cut < found.cut
    assert f"the first {page.shown.cut} tokens of each" in page.html.decode()


def test_names_are_escaped(data, tmp_path):
    store = stored(data, tmp_path / "text", HELD_OUT)
    page = pages.explorer_page(explore([model(store)], store), ["<b>&"]).html.decode()
    assert "<title>Explore &lt;b&gt;&amp;</title>" in page
    assert "<b>&" not in page
