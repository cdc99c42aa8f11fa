"""The explorer in a browser: right figures, hostile text as text, keys, contrast, no network."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from minigpt.evaluation.exploration import explore
from minigpt.reports.explorer_page import explorer_page
from tests.explorations import model, stored

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

HOSTILE = (
    "</script><script>document.title = 'broken'</script><img src=x onerror=alert(1)> &amp; \x01"
    "\u202ereversed\u202c 日本語 🌊🏽 e\u0301 \ufeff{{ 7 }}\t<!-- ]]>\n\nend\u2028."
)

# Uses the page as a person would, and leaves what it sees in the title.
PROBE = """
<script>
const errors = [];
addEventListener("error", event => errors.push(String(event.message)));
addEventListener("unhandledrejection", event => errors.push(String(event.reason)));
addEventListener("securitypolicyviolation", event => errors.push(event.blockedURI));
const press = (element, key) =>
  element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const choose = (id, value) => {
  document.getElementById(id).value = value;
  document.getElementById(id).dispatchEvent(new Event("change"));
};
const texts = (selector) => [...document.querySelectorAll(selector)].map(e => e.textContent);
function brightness(colour) {
  const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(value => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function contrast(element) {
  const { color, backgroundColor } = getComputedStyle(element);
  const [low, high] = [brightness(color), brightness(backgroundColor)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}
function look() {
  const found = { errors };
  const list = document.getElementById("list");
  found.listed = texts("#list li .name");
  choose("split", "all");
  choose("order", "as in the corpus");
  press(list, "Home");
  found.documents = found.listed.map(() => {
    const seen = {
      name: document.getElementById("name").textContent,
      selected: list.querySelector("[aria-selected=true] .name").textContent,
      active: document.getElementById(list.getAttribute("aria-activedescendant")).textContent,
      text: [...document.querySelectorAll("#panes .text")].map(e => e.textContent),
      tokens: [...document.querySelector("#panes .text").children].map(e => e.ariaLabel),
    };
    press(list, "ArrowDown");
    return seen;
  });
  press(list, "Home");
  const first = document.querySelector("#panes .text");
  first.querySelector("[tabindex='0']").focus();
  for (const key of ["ArrowRight", "ArrowRight", "ArrowLeft"]) press(document.activeElement, key);
  found.focused = [...first.children].indexOf(document.activeElement);
  found.reachable = first.querySelectorAll("[tabindex='0']").length;
  found.details = document.getElementById("token").innerText;
  found.attention = texts("#looks-at");
  found.heads = document.querySelectorAll(".heads canvas").length;
  found.contrasts = [...document.querySelectorAll(".legend span")].map(contrast);
  found.overflow = document.documentElement.scrollWidth - innerWidth;
  found.asked = performance.getEntriesByType("resource").map(entry => entry.name)
    .filter(name => !name.startsWith("data:"));
  found.foreign = document.querySelectorAll("body script:not([id]):not([type])").length +
    document.querySelectorAll("img").length;
  document.title = JSON.stringify(found);
}
const waiting = setInterval(() => {
  if (errors.length || !document.querySelector("main").hidden) {
    clearInterval(waiting);
    try { look(); } catch (error) { document.title = JSON.stringify({ errors: [error.stack] }); }
  }
}, 10);
</script>
"""


def seen_in_a_browser(page, folder, *flags):
    """What the probe found on a page."""
    path = folder / "probed.html"
    path.write_bytes(page.html.replace(b"<body>", b"<body>" + PROBE.encode()))
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", f"--user-data-dir={folder}/profile", "--enable-logging=stderr",
         "--virtual-time-budget=20000", *flags, "--dump-dom", f"file://{path}"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    (title,) = re.findall(r"<title>(.*?)</title>", done.stdout, re.S)
    found = json.loads(html.unescape(title))
    assert found["errors"] == []
    return found


def visible(text):
    """Text as the page shows it."""
    text = text.replace("\n", "↵\n").replace("\t", "→\t").replace("\x01", "\u2401")
    return re.sub("[\u202e\u202c\ufeff\u2028]", lambda c: f"[U+{ord(c[0]):04X}]", text)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
@pytest.mark.parametrize("dark", [False, True])
def test_two_runs_are_shown_token_by_token(data, tmp_path, dark):
    held_out = [HOSTILE, "The sea rises twice a day, and twice a day it falls again."]
    store = stored(data, tmp_path / "<b>text&", held_out)
    found = explore([model(store), model(store, 2)], store)
    flags = ["--window-size=1400,1000", *(["--blink-settings=preferredColorScheme=0"] * dark)]
    seen = seen_in_a_browser(explorer_page(found, ["one", "</script>two"]), tmp_path, *flags)

    # The worst held-out document of the second run is first.
    means = [rows.nats.mean() for rows in found.readings[1].rows[:2]]
    names = [excerpt.name for excerpt in found.excerpts]
    assert seen["listed"] == [names[i] for i in np.argsort(-np.array(means))]
    tokenizer = found.readings[0].model.tokenizer
    for number, (excerpt, document) in enumerate(
        zip(found.excerpts[:2], seen["documents"], strict=True)
    ):
        assert document["name"] == document["selected"] == excerpt.name
        assert document["active"].startswith(excerpt.name)
        text = visible(tokenizer.decode(excerpt.ids.tolist()))
        # A character of several tokens stands in the last of them, after a dot for each other.
        assert [shown.replace("·", "") for shown in document["text"]] == [text] * 3
        losses = [re.findall(r"([\d.]+) nats,", label) for label in document["tokens"]]
        nats = np.stack([reading.rows[number].nats for reading in found.readings], 1)
        np.testing.assert_allclose(np.array(losses, float), nats, atol=0.006)
    assert seen["focused"] == 1
    assert seen["reachable"] == 1
    details = seen["details"]
    first = np.array([float(loss) for loss in re.findall(r"([\d.]+) nats,", details)])
    nats = [reading.rows[0].nats[1] for reading in found.readings]
    np.testing.assert_allclose(first, nats, atol=0.006)
    assert details.count("← in the text") == 2
    assert seen["heads"] == 2
    assert "head 1 of block 1 reads" in seen["attention"][0]
    assert len(seen["contrasts"]) == 18
    assert min(seen["contrasts"]) >= 4.5  # WCAG 2.2, AA
    assert seen["overflow"] <= 0
    assert seen["asked"] == []
    assert seen["foreign"] == 1  # the probe
