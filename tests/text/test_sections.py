"""One long text is cut into sections that lose nothing."""

from minigpt.text.sections import SECTION_CHARS, sections


def test_one_long_text_is_cut_at_blank_lines_and_loses_nothing():
    text = "".join(f"Line {i} of many.\n" + "\n" * (i % 50 == 0) for i in range(3000))
    parts = list(sections([text]))
    assert "".join(parts) == text
    assert len(parts) > 4
    assert all(SECTION_CHARS <= len(part) <= 2 * SECTION_CHARS + 2 for part in parts[:-1])
    assert all(part.endswith("\n\n") for part in parts[:-1])
    assert list(sections(text[i : i + 777] for i in range(0, len(text), 777))) == parts


def test_text_without_line_ends_is_cut_all_the_same():
    assert [len(part) for part in sections(["x" * (3 * SECTION_CHARS)])] == [SECTION_CHARS] * 3
