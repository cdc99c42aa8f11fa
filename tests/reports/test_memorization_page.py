"""The page gives its verdict first, says what is missing, and is readable in a browser."""

import re

import pytest

from minigpt.evaluation.capacity import Capacity
from minigpt.evaluation.extraction import Extraction, KnownDocument, Recall
from minigpt.evaluation.longest_spans import RecalledSpan
from minigpt.evaluation.membership import Measure, Membership
from minigpt.evaluation.memorization_result import Losses, Memorization
from minigpt.evaluation.memory_verdict import Judgement
from minigpt.reports.memorization_page import memorization_html
from minigpt.reports.memorization_sections import memorization_sections
from minigpt.reports.run_report import word_for_word
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import ComesBack, Data, Status, Summary
from tests.browser import CHROMIUM, seen_in_a_browser


def extraction(share, once, documents=()):
    recalls = [Recall(p, share, once, share, [share * d for d in (0.1, 0.5, 0.9, 1)])
               for p in (8, 16, 32)]  # fmt: skip
    return Extraction(1000, 800, 2, recalls, [share] * 32, list(documents))


def memorization(**changes):
    measures = [Measure(name, 0.99, 0.01, 0.9, 0.5, 0.08) for name in ("loss", "zlib alone")]
    known = {
        "judgement": Judgement(False, True, ["Because <it> knows."]), "checkpoint": "last.ckpt",
        "prefixes_left_out": [],
        "train": extraction(0.9, 0.85, [KnownDocument("a <b>.txt", "train", 100, 0.9)]),
        "held_out": extraction(0.0, 0.0),
        "train_spans": [
            RecalledSpan("a <b>.txt", "train", 32, 480, "Once <i>", " upon\n" * 90, 1, 0.5)
        ],
        "held_out_spans": [RecalledSpan("c.txt", "val", 40, 9, "x", "y" * 300, 0, 1e-9)],
        "losses": Losses(0.2, 13.0, 8.0),
        "membership": Membership(64, 1000, 48, measures, [0.1, 0.2, 0.3], [9.0, 12.0, 13.5]),
        "capacity": Capacity(8.0, 60_000.0, 58_000.0, 6_479_053, 2.3e7),
        "canaries": None, "windows": 1000, "seed": 0,
    }  # fmt: skip
    return Memorization(**{**known, **changes})


def page(tmp_path, found):
    run = RunFolder(tmp_path / "run")
    run.path.mkdir(exist_ok=True)
    tokens = {"train": 5120, "val": 1536, "test": 1536}
    data = Data(source="sample", fingerprint="", tokens=tokens, documents=tokens)
    run.write_summary(
        Summary(status=Status.FINISHED, parameters=6_479_053, data=data, tokens_seen=51_200)
    )
    return memorization_html(run, found, memorization_sections(found))


def test_the_verdict_comes_first_and_each_section_cites_its_paper(tmp_path):
    text = page(tmp_path, memorization())
    titles = re.findall(r"<h2>(.*?)</h2>", text)
    assert titles == [
        "Extraction", "What comes back", "Documents that come back", "Membership", "Capacity",
    ]  # fmt: skip
    assert text.index("Memorised, not learned") < text.index("Because &lt;it&gt; knows.")
    assert text.index("Because &lt;it&gt; knows.") < text.index("<h2>")
    for paper in ("Carlini et al., 2023", "Hayes et al., 2024", "Yeom et al., 2018",
                  "Carlini et al., 2021", "Shi et al., 2024", "Obuchowski, 1997",
                  "Morris et al., 2025"):  # fmt: skip
        assert paper in text
    assert "each read 10.0 times" in text
    assert "Once &lt;i&gt;" in text
    assert "<i>" not in text
    assert "tokens 32 to 512 (480)" in text
    assert 'href="#document-0">how much of this document comes back' in text


def test_what_could_not_be_measured_is_left_out_and_said(tmp_path):
    found = memorization(
        held_out=None, held_out_spans=[], losses=None, membership=None, capacity=None,
        prefixes_left_out=[32], train=extraction(0.0, None), train_spans=[],
    )  # fmt: skip
    text = page(tmp_path, found)
    assert re.findall(r"<h2>(.*?)</h2>", text) == ["Extraction"]
    assert "no held-out document is long enough to compare" in text
    assert "A prefix of 32 tokens is left out" in text
    assert "2 training documents too short" in text


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ((0.972, 0.972, 0.0), "97.2% of its passages come back word for word, 0.0% of held-out "
                              "passages (32 tokens after 32)"),
        ((0.03, 0.005, None), "3.0% of its passages come back word for word (0.5% of what is not "
                              "repeated) (32 tokens after 32)"),
        ((0.03, None, 0.01), "3.0% of its passages come back word for word, 1.0% of held-out "
                             "passages (32 tokens after 32)"),
    ],
)  # fmt: skip
def test_the_short_form_is_one_phrase(shares, expected):
    train, once, held_out = shares
    share = ComesBack(prefix=32, continuation=32, passages=200, train=train,
                      train_not_repeated=once, held_out_passages=50, held_out=held_out)  # fmt: skip
    assert word_for_word(share) == expected


# Reads what is on the page once it is laid out, and leaves it in the title.
PROBE = """
<script>
const errors = [];
addEventListener("error", event => errors.push(String(event.message)));
addEventListener("load", () => {
  document.title = JSON.stringify({
    errors,
    asked: performance.getEntriesByType("resource").map(entry => entry.name)
      .filter(name => !name.startsWith("data:")),
    svgs: [...document.querySelectorAll("svg")].map(svg => svg.getBoundingClientRect().width),
    overflow: document.documentElement.scrollWidth - innerWidth,
    broken: [...document.querySelectorAll("a[href^='#']")]
      .filter(a => !document.getElementById(a.getAttribute("href").slice(1))).length,
    ink: getComputedStyle(document.querySelector("svg text")).fill,
  });
});
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
@pytest.mark.parametrize(("width", "dark"), [(1250, False), (500, True)])
def test_the_page_renders_without_a_network(tmp_path, width, dark):
    text = page(tmp_path, memorization())
    flag = f"--window-size={width},2000"
    found = seen_in_a_browser(text, PROBE, tmp_path, flag, dark=dark)
    assert found["errors"] == found["asked"] == []
    assert len(found["svgs"]) == 3
    assert all(svg > 0.8 * min(width, 960) for svg in found["svgs"])
    assert found["overflow"] <= 0
    assert found["broken"] == 0
    brightness = sum(map(int, re.findall(r"\d+", found["ink"])[:3])) / 3
    assert brightness > 200 if dark else brightness < 50
