"""The section about canaries says what their exposures are."""

import dataclasses
from xml.etree import ElementTree

from minigpt.evaluation.canaries import CanaryExposure, CanaryExposures
from minigpt.reports.canaries import canary_section

RESULT = CanaryExposures(
    canaries=[
        CanaryExposure("canary 1x #1", "a", 1, 30.0, 900, 2.0, 2.5),
        CanaryExposure("canary 1x #2", "b", 1, 31.0, 1800, 1.0, 1.5),
        CanaryExposure("canary 64x #1", "c", 64, 4.0, 1, 12.0, 38.0),
        CanaryExposure("canary 64x #2", "d", 64, 9.0, 2, 11.0, 30.0),
    ],
    references=4095,
    reference_nats=32.0,
    reference_deviation=2.0,
    space=10**12,
)


def test_the_section_has_the_means_by_copies_and_says_that_they_grow():
    section = canary_section(RESULT)
    assert section.rows == [
        ["1", "2", "1.5", "2.0", "0 of 2"],
        ["64", "2", "11.5", "34.0", "1 of 2"],
    ]
    assert section.sentences[0] == (
        "The exposure of a random string grows with every step of repetition: from 2.0 bits with "
        "one copy in the training text to 34.0 with 64 copies."
    )
    assert "1.4 bits on average" in section.sentences[1]
    assert "has 39.9, since 1,000,000,000,000 strings" in section.sentences[1]
    assert "4,095 random ones and ends at 12.0 bits" in section.notes[0]


def test_exposures_that_fall_are_not_said_to_grow():
    first, *others = RESULT.canaries
    high = dataclasses.replace(first, extrapolated=99.0)
    section = canary_section(dataclasses.replace(RESULT, canaries=[high, *others]))
    assert "does not grow at every step of repetition" in section.sentences[0]


def test_canaries_of_one_kind_are_a_sentence_of_their_own():
    section = canary_section(dataclasses.replace(RESULT, canaries=RESULT.canaries[2:]))
    assert section.sentences[0] == (
        "A random string with 64 copies in the training text has an exposure of 34.0 bits."
    )


def test_the_plot_is_an_element_in_the_text_colour_of_its_page():
    plot = ElementTree.fromstring(canary_section(RESULT).plot.replace("xlink:", ""))
    assert plot.tag == "svg"
    words = " ".join(plot.itertext())
    assert "copies in the training text" in words
    assert "not planted" in words
    assert "currentColor" in canary_section(RESULT).plot
