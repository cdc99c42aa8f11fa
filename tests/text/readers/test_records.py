"""Rows are joined into documents."""

from minigpt.text.readers.records import joined


def test_rows_are_joined_into_documents():
    rows = ["preface", " = One = ", "body", " = = part = = ", "", " = Two = ", "end\n"]
    found = list(joined(((f"row {i}", row) for i, row in enumerate(rows)), "^ = [^=]"))
    assert found == [
        ("row 0", "preface\n"),
        ("row 1", " = One = \nbody\n = = part = = \n\n"),
        ("row 5", " = Two = \nend\n"),
    ]
