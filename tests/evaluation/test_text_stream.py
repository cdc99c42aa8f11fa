"""Text comes as soon as it is certain, and never differs from the text that is read whole."""

import pytest

from minigpt.evaluation.text_stream import TextStream


def parts(tokens, stop=()):
    """What comes with each token, what comes at the end, and whether it stopped."""
    stream = TextStream(stop)
    pushed = []
    for token in tokens:
        pushed.append(stream.push(token))
        if stream.stopped:
            return pushed, None
    return pushed, stream.close()


def test_a_character_is_held_back_until_it_is_whole():
    bee = "🐝".encode()
    assert parts([b"a", bee[:1], bee[1:3], bee[3:] + b"b"]) == (["a", "", "", "🐝b"], "")
    assert parts([bee[:3]]) == ([""], "\ufffd")
    assert parts([b"\xff", b"a", bee[:2], b"z"]) == (["\ufffd", "a", "", "\ufffdz"], "")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_the_parts_are_the_whole_whatever_the_tokens(size):
    data = "Größe 日本 🐝 naïve".encode() + b"\xf0\x9f" + b"\xff\xc3"
    pushed, rest = parts([data[i : i + size] for i in range(0, len(data), size)], ["日光", "é"])
    assert "".join(pushed) + rest == data.decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("tokens", "stop", "expected"),
    [
        ([b"on", b"e. t", b"wo"], ["."], ["on", "e"]),
        ([b"onE", b"N", b"D"], ["END"], ["on", "", ""]),
        ([b"a\n", b"\nb"], ["\n\n"], ["a", ""]),
        ([b"aab", b"aac"], ["aabaac"], ["", ""]),
        ([b"aabaab", b"aac"], ["aabaac"], ["aab", ""]),
        ([b"abc"], ["abc", "b"], ["a"]),  # b is complete first,
        ([b"a", b"b"], ["abc", "b"], ["", "a"]),  # as it would be one letter at a time
        ([b"xy"], ["y", "xy"], [""]),
        ([b"\xc3", b"\xa9"], ["é"], ["", ""]),
    ],
)
def test_the_text_ends_before_the_stop_string_wherever_tokens_end(tokens, stop, expected):
    assert parts(tokens, stop) == (expected, None)


def test_what_looked_like_a_stop_string_comes_once_it_is_none():
    assert parts([b"a<", b"en", b"e>"], ["<end>"]) == (["a", "", "<ene>"], "")
    assert parts([b"a<en"], ["<end>"]) == (["a"], "<en")
