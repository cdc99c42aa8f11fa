"""Whatever bytes a stranger's file has, it is read or refused in one line."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.fuzz import fuzz_all
from tests.faults.fuzz_targets import TARGETS

EXAMPLES = 60  # of each format


@st.composite
def damaged(draw, seeds):
    """One of some contents in which pieces were cut out, repeated or replaced."""
    content = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 12)))
        new = draw(st.one_of(st.binary(max_size=8), st.sampled_from(PIECES)))
        content = content[:start] + new + content[end:]
    return content


PIECES = [
    b"", b"null", b"-1", b"1e999", b"[" * 200, b'{"a":' * 200, b"NaN", b"\xff", b"\x00", b'""',
    b"9" * 40, b"../", b"${oc.env:PATH}", b"$\\x7boc.env:PATH}", b"*a", b"&a", b"\r\n", b"true",
]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_damaged_content_is_read_or_refused(target):
    seeds = target.seeds()
    # Were whole content refused, damaged content would not be read at all.
    assert [target.read(content) for content in seeds] == [True] * len(seeds)

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(damaged(seeds))
    def check(content):
        assert target.read(content) in (True, False)

    check()


@pytest.mark.soak
def test_a_million_damaged_inputs_are_read_or_refused():
    pytest.importorskip("atheris")
    for fuzzed in fuzz_all(1_000_000):
        assert fuzzed.finding == ""
