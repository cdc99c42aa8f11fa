"""A JSON array of objects is read one object at a time."""

import json

import pytest

from minigpt.errors import UserError
from minigpt.text.opening import BytesRead
from minigpt.text.readers import json_array, json_lines, plain
from minigpt.text.readers.read import read_texts
from tests.documents import COMPRESS, texts

TEXTS = ["one", "zwei\nZeilen", "drei é 漢字 \U0001f600", "", 'a "quoted" ], [ {text}']
RECORDS = [{"id": [i, {"text": "no"}], "text": text, "n": -1.5e3} for i, text in enumerate(TEXTS)]


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_an_array_comes_out_as_its_texts(tmp_path, ending, indent, mark):
    content = mark + "\n " + json.dumps(RECORDS, indent=indent, ensure_ascii=False) + "\n"
    path = tmp_path / f"a.json{ending}"
    path.write_bytes(COMPRESS[ending](content.encode()))
    assert texts(path) == TEXTS


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("long", [10, 40, 10_000])
def test_where_the_file_is_cut_while_reading_does_not_matter(tmp_path, monkeypatch, size, long):
    monkeypatch.setattr(plain, "PIECE_CHARS", size)
    monkeypatch.setattr(json_array, "LONG_OBJECT", long)
    (tmp_path / "a.json").write_text(json.dumps(RECORDS, ensure_ascii=False), "utf-8")
    assert texts(tmp_path / "a.json") == TEXTS


def test_a_long_object_comes_in_pieces(tmp_path, monkeypatch):
    for module in (plain, json_lines, "minigpt.text.long_text"):
        name = module if isinstance(module, str) else module.__name__
        monkeypatch.setattr(f"{name}.PIECE_CHARS", 300)
    monkeypatch.setattr(json_array, "LONG_OBJECT", 1000)
    long = 'the tide comes in, é 漢字 \\ " \n' * 200
    records = [{"text": "first"}, {"id": [1], "text": long, "more": "x"}, {"text": "last"}]
    (tmp_path / "a.json").write_text(json.dumps(records), "utf-8")
    found = []
    for name, text in read_texts(tmp_path / "a.json", "text", BytesRead()):
        pieces = [text] if isinstance(text, str) else list(text)
        assert all(len(piece) <= 300 for piece in pieces)
        found.append((name.rpartition(" ")[2], "".join(pieces)))
    assert found == [("1", "first"), ("2", long), ("3", "last")]


def test_an_empty_array_has_no_texts(tmp_path):
    (tmp_path / "a.json").write_text(" [ ]\n")
    assert texts(tmp_path / "a.json") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"text": "a"}, 3]', "item 2: '3' where an object belongs; .*one object a line"),
        ('["a", "b"]', "item 1: '\"' where an object belongs"),
        ('[{"text": "a"}', "item 1: cut short after it"),
        ('[{"text": "a"},', "item 2: cut short"),
        ('[{"text": "a', "item 1: cut short"),
        ('[{"text": "a"} {"text": "b"}]', "item 1: '{' where a comma belongs after it"),
        ('[{"text": "a"}, {"text" "b", "more": "of the object"}]', "item 2: not JSON .Expecting"),
        ('[{"text": "a"}] and more', ": there is more after the array"),
        ('[{"body": "a"}]', "item 1: no field 'text', it has body; set data.text_field"),
        ('[{"text": 1}]', "item 1: its field 'text' is int, not text"),
    ],
)
def test_a_bad_item_is_named_by_its_number(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=f"a.json.*{message}"):
        texts(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"text": "' + "x" * 200, "item 1: not JSON .it ends within the object"),
        ('[{"body": "' + "x" * 200 + '"}]', "item 1: no text in a field 'text'"),
    ],
)
def test_a_bad_long_item_is_named_too(tmp_path, monkeypatch, content, message):
    monkeypatch.setattr(json_array, "LONG_OBJECT", 50)
    monkeypatch.setattr(plain, "PIECE_CHARS", 64)
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=message):
        texts(tmp_path / "a.json")
