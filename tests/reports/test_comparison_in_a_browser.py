"""The report in a browser: its plots are visible, it has no errors and asks for no network."""

import re

import pytest

from minigpt.reports.comparison import compare
from tests.browser import CHROMIUM, seen_in_a_browser
from tests.written_runs import write_run

# Reads what is on the page once it is laid out, and leaves it in the title.
PROBE = """
<script>
const errors = [];
addEventListener("error", event => errors.push(String(event.message)));
addEventListener("load", () => {
  const boxes = [...document.querySelectorAll("svg")].map(svg => svg.getBoundingClientRect());
  const asked = performance.getEntriesByType("resource").map(entry => entry.name)
    .filter(name => !name.startsWith("data:"));
  const differences = () => [...document.querySelectorAll("#differences tr")].map(
    row => [...row.cells].map(cell => cell.textContent).join(" "));
  const atFirst = differences();
  const right = document.getElementById("right");
  right.value = 3;
  right.dispatchEvent(new Event("change"));
  document.title = JSON.stringify({
    differences: [atFirst, differences()],
    errors, asked, svgs: boxes.map(box => [box.width, box.height]),
    lines: document.querySelectorAll("svg path").length,
    rows: document.querySelectorAll("tbody tr").length,
    overflow: document.documentElement.scrollWidth - innerWidth,
    ink: getComputedStyle(document.querySelector("svg text")).fill,
  });
});
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
@pytest.mark.parametrize("dark", [False, True])
def test_the_report_renders_without_a_network(tmp_path, dark):
    for i, lr in enumerate((1e-3, 5e-4)):
        for j, width in enumerate((128, 256)):
            write_run(tmp_path / "runs" / f"{i}{j}", 5 - 0.3 * j + 0.1 * i, optimizer__lr=lr,
                      model__n_embd=width)  # fmt: skip
    compare([tmp_path / "runs"], tmp_path)
    page = (tmp_path / "report.html").read_text()
    found = seen_in_a_browser(page, PROBE, tmp_path, "--window-size=1250,2000", dark=dark)
    assert found["errors"] == found["asked"] == []
    assert len(found["svgs"]) == 3
    assert all(width > 300 and height > 100 for width, height in found["svgs"])
    assert found["lines"] > 50
    assert found["overflow"] <= 0
    # The two best runs differ in their rate; the best and the worst, chosen by hand, in both.
    assert found["differences"] == [
        ["optimizer.lr 0.001 0.0005"],
        ["optimizer.lr 0.001 0.0005", "model.n_embd 256 128"],
    ]
    # The pictures' text takes the page's colour: light on a dark page.
    brightness = sum(map(int, re.findall(r"\d+", found["ink"])[:3])) / 3
    assert brightness > 200 if dark else brightness < 50
