"""Text of files as a terminal may get it: nothing in it moves the cursor or hides other text."""

# Control characters as their pictures; C1 controls and marks that turn the writing direction have
# none. Tabs and line ends stay.
_PICTURES = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: "\u2421",
    **dict.fromkeys([*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd"),
}


def shown(text: str) -> str:
    """The text with a picture in place of each character that would command the terminal."""
    return text.translate(_PICTURES)


def on_one_line(text: str) -> str:
    """The same without line ends."""
    return shown(text).translate({0x09: " ", 0x0A: "\u240a", 0x2028: " ", 0x2029: " "})
