"""A store knows its documents: names, domains and places, whatever the parts."""

import pytest

from minigpt.errors import UserError
from minigpt.tokens.document_list import StoredDocument, document_line, read_documents


def test_a_list_reads_back_with_the_place_of_each_document(tmp_path):
    path = tmp_path / "list.jsonl"
    path.write_bytes(document_line("a.txt", "notes", 3) + document_line('"\n', "ß", 5))
    assert [*read_documents(path, 10)] == [
        StoredDocument("a.txt", "notes", 10, 3),
        StoredDocument('"\n', "ß", 13, 5),
    ]


@pytest.mark.parametrize("content", [b"{", b"[1]\n", b'["a","b","c"]\n', None])
def test_a_damaged_list_is_one_line_with_the_way_out(tmp_path, content):
    path = tmp_path / "list.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="list.jsonl is missing or damaged .*made again"):
        list(read_documents(path, 0))
