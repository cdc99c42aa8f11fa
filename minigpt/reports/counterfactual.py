"""The documents that are known only when trained on, as a section of a sweep's report."""

from minigpt.evaluation.counterfactual import Counterfactual, CounterfactualDocument
from minigpt.reports.reproduction import Section
from minigpt.reports.text import shortened

COLUMNS = ["document", "memorization", "standard error", "accuracy, trained on it",
           "accuracy, not", "models", "tokens", "begins"]  # fmt: skip
SHOWN = 30
NOTE = (
    "Counterfactual memorization (Zhang et al., 2023): the share of a document's tokens that a "
    "model takes for the likeliest, mean over the models that were trained on it, less the mean "
    "over the others. It tells what training on a document adds, however predictable the text is. "
    "It is an average over networks trained this way and cannot show what one of them knows; with "
    "a few models on each side the standard errors are rough."
)


def counterfactual_section(result: Counterfactual) -> Section:
    """The table of the most memorised documents, and what it says."""
    rows = [_row(document) for document in result.top[:SHOWN]]
    return Section("Known only when trained on", COLUMNS, rows, sentences(result), NOTE)


def sentences(result: Counterfactual) -> list[str]:
    """What the figures say, most important first."""
    most = result.top[0]
    lines = [
        f"{most.name} is what training adds most to: models trained on it predict "
        f"{most.accuracy_with:.0%} of its tokens, the others {most.accuracy_without:.0%} "
        f"(memorization {most.memorization:.2f}).",
        f"The mean over {result.documents:,} documents is {result.mean:.3f}, measured with "
        f"{result.models} models.",
    ]
    if result.beyond_chance is None:
        lines.append(
            "Some documents have one model on a side, so chance is not ruled out: more values of "
            "data.subset.seed would tell."
        )
    else:
        lines.append(
            f"{result.beyond_chance:,} documents are more than two standard errors above 0, "
            f"{result.below_chance:,} more than two below it. Training cannot make a document less "
            "known, so about as many of the first are chance as there are of the second."
        )
    if result.left_out:
        lines.append(
            f"{result.left_out:,} documents are left out: all models were trained on them or none, "
            "or they have no token to predict."
        )
    return lines


def _row(document: CounterfactualDocument) -> list[str]:
    return [
        shortened(document.name),
        f"{document.memorization:.3f}",
        "" if document.stderr is None else f"{document.stderr:.3f}",
        f"{document.accuracy_with:.1%}",
        f"{document.accuracy_without:.1%}",
        f"{document.models_with} and {document.models_without}",
        f"{document.tokens:,}",
        " ".join(document.beginning.split()),
    ]
