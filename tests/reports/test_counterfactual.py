"""The section about counterfactual memorization says what was measured, and how surely."""

from minigpt.evaluation.counterfactual import Counterfactual, CounterfactualDocument
from minigpt.reports.counterfactual import counterfactual_section

DOCUMENT = CounterfactualDocument(
    name="corpus/05.txt", domain="corpus", tokens=1234, beginning="a\n <b>", models_with=2,
    models_without=1, accuracy_with=0.75, accuracy_without=0.25, memorization=0.5, stderr=0.125,
)  # fmt: skip
RESULT = Counterfactual(
    models=3, documents=40, left_out=2, mean=0.0625, beyond_chance=7, below_chance=2, top=[DOCUMENT]
)


def test_the_section_has_a_row_for_each_document_and_the_figures_in_words():
    section = counterfactual_section(RESULT)
    assert section.rows == [
        ["corpus/05.txt", "0.500", "0.125", "75.0%", "25.0%", "2 and 1", "1,234", "a <b>"]
    ]
    assert section.findings[0] == (
        "corpus/05.txt is what training adds most to: models trained on it predict 75% of its "
        "tokens, the others 25% (memorization 0.50)."
    )
    assert "over 40 documents is 0.062, measured with 3 models" in section.findings[1]
    assert section.findings[2].startswith(
        "7 documents are more than two standard errors above 0, 2 more than two below it. "
    )
    assert section.findings[3].startswith("2 documents are left out: ")


def test_one_model_on_a_side_is_said_not_to_rule_out_chance():
    document = DOCUMENT.model_copy(update={"stderr": None})
    result = RESULT.model_copy(
        update={"beyond_chance": None, "below_chance": None, "left_out": 0, "top": [document]}
    )
    section = counterfactual_section(result)
    assert section.rows[0][2] == ""
    assert "chance is not ruled out" in section.findings[2]
    assert len(section.findings) == 3
