"""The sources that need no network and no files of the user."""

from collections import Counter
from pathlib import Path

from tests.documents import documents


def test_the_sample_is_ten_documents_and_others_held_out(data):
    found = documents(data("sample"))
    assert Counter(d.split for d in found) == {"train": 10, "val": 3, "test": 3}
    assert len({d.text for d in found}) == 16
    assert all(d.text.isascii() and len(d.text) > 2000 for d in found)


def test_the_standard_library_is_code_and_documentation_without_its_tests(data):
    found = {d.name: d for d in documents(data("stdlib"))}
    assert "def namedtuple" in found["collections/__init__.py"].text
    assert found["collections/__init__.py"].domain == "code"
    assert 'The "assert" statement' in found["pydoc topic assert"].text.replace("“", '"')
    assert found["pydoc topic assert"].domain == "documentation"
    folders = {part for name in found for part in Path(name).parts[:-1]}
    assert folders.isdisjoint({"test", "tests", "site-packages"})
    assert "unittest" in folders
    assert sum(len(d.text) for d in found.values()) > 5_000_000
