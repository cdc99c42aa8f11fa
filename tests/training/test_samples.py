"""Samples of text are shown in TensorBoard as the model wrote them."""

import html
import warnings

import pytest

from minigpt.training.callbacks.samples import _as_written

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of what TensorBoard bundles
    from tensorboard.plugin_util import markdown_to_safe_html


@pytest.mark.parametrize(
    "text",
    [
        "*a* **b** _c_ `d`\n# e\n- f\n\n\n1. g",
        "```\n</code></pre><b>x</b> <script>y</script>\n```",
        "&amp; [a](http://b) ![c](d)\n[e]: http://f",
        "\n    four\n\n| a | b |\n|---|---|\n| 1 | 2 |",
    ],
)
def test_tensorboard_shows_a_sample_as_it_was_written(text):
    page = markdown_to_safe_html(_as_written(text))
    assert page.startswith("<pre><code>")
    assert html.unescape(page.removeprefix("<pre><code>").removesuffix("\n</code></pre>")) == text


def test_any_kind_of_line_break_stays_within_the_block():
    page = markdown_to_safe_html(_as_written("a\r# b\u2028* c\r\n1. d\f> e"))
    assert page == "<pre><code>a\n# b\n* c\n1. d\n&gt; e\n</code></pre>"


def test_tabs_keep_their_width():
    assert markdown_to_safe_html(_as_written("a\tb")) == "<pre><code>a   b\n</code></pre>"
