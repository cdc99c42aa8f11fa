"""What was measured of a run's memory, in sections: sentences, tables, pictures and spans."""

from minigpt.evaluation.capacity import BITS_PER_PARAMETER, Capacity
from minigpt.evaluation.extraction import CONTINUATION, DRAWS, Extraction
from minigpt.evaluation.membership import FALSE_POSITIVES, Measure, Membership
from minigpt.evaluation.memorization_result import Losses, Memorization
from minigpt.evaluation.repetition import SPAN
from minigpt.reports.canaries import canary_section
from minigpt.reports.known_text_sections import documents_section, spans_section
from minigpt.reports.memorization_plots import capacity_plot, extraction_plot, membership_plot
from minigpt.reports.page_section import Section


def memorization_sections(memory: Memorization) -> list[Section]:
    """The sections of the page, in order."""
    sections = [_extraction(memory)]
    if memory.train_spans:
        sections.append(spans_section(memory))
    if memory.train.documents:
        sections.append(documents_section(memory.train.documents))
    if memory.membership and memory.losses:
        sections.append(_membership(memory.membership, memory.losses))
    if memory.capacity:
        sections.append(_capacity(memory.capacity))
    if memory.canaries:
        sections.append(canary_section(memory.canaries))
    return sections


def _extraction(memory: Memorization) -> Section:
    train, held_out = memory.train, memory.held_out
    prefix = train.recalls[-1].prefix
    sentences = [
        f"Given {prefix} tokens, greedy continuation brings back the next {CONTINUATION} word for "
        f"word for {train.extracted:.1%} of {train.passages:,} passages of the training text"
        + (
            f", and for {held_out.extracted:.1%} of {held_out.passages:,} of held-out text."
            if held_out
            else "; no held-out document is long enough to compare."
        ),
        _repetition(train, held_out),
    ]
    notes = [
        "The passages are spread evenly over the documents. All prefixes stand before the same "
        f"{CONTINUATION} tokens (discoverable extraction; Carlini et al., 2023). The share of "
        "passages drawn at least once in n draws follows from the network's own probabilities, at "
        "temperature 1 and without top-k or top-p (Hayes et al., 2024); nothing is sampled.",
        "It cannot show what other prompts would bring back, nor text that comes back with a word "
        "changed. Held-out text comes back too where it is formulaic: only what the training text "
        "has beyond it is memory.",
    ]  # fmt: skip
    if train.too_short:
        notes.append(f"Left out: {train.too_short:,} training documents too short for it.")
    if memory.prefixes_left_out:
        left_out = " and ".join(map(str, memory.prefixes_left_out))
        notes.append(
            f"A prefix of {left_out} tokens is left out: with {CONTINUATION} tokens to come it is "
            "longer than the context or than every document."
        )
    columns = ["text", "prefix", "come back", "not repeated", "tokens"]
    columns += [f"in {n:,} draws" if n > 1 else "in 1 draw" for n in DRAWS]
    rows = []
    for name, side in (("training", train), ("held-out", held_out)):
        for recall in side.recalls if side else ():
            once = recall.extracted_once
            shares = [recall.extracted, once, recall.tokens, *recall.at_least_once]
            rows.append([name, str(recall.prefix), *map(_share, shares)])
    return Section(
        "Extraction", sentences, columns, rows, plot=extraction_plot(train, held_out),
        caption=f"Left: passages that come back whole. Middle and right: after {prefix} tokens.",
        notes=notes,
    )  # fmt: skip


def _repetition(train: Extraction, held_out: Extraction | None) -> str:
    once = train.extracted_once
    of_these = "" if once is None else f", of which {once:.1%} come back"
    text = (
        f"A passage counts as repeated if {SPAN} tokens in a row of it stand elsewhere in the "
        f"training text. {train.not_repeated:,} are not repeated{of_these}."
    )
    if held_out and held_out.extracted_once is not None:
        text += (
            f" Of the {held_out.not_repeated:,} held-out passages of which nothing stands in the "
            f"training text, {held_out.extracted_once:.1%} come back."
        )
    return text


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _membership(measured: Membership, losses: Losses) -> Section:
    best, blind = measured.measures[0], measured.measures[-1]
    few = measured.others < 1 / FALSE_POSITIVES
    sentences = [
        f"By its loss, a piece of the training text is told from a piece of held-out text with an "
        f"AUC of {best.auc:.3f} (0.5 is chance, 1 is certain). The losses are {losses.train:.2f} "
        f"and {losses.held_out:.2f} nats a token; token frequencies alone need "
        f"{losses.unigram:.2f} on held-out text.",
        _control(best),
        f"Without any network, the packed length alone has an AUC of {blind.auc:.3f}. Where that "
        "is far from 0.5 the two texts differ by more than training, and the other rows overstate "
        "what the network remembers.",
    ]
    notes = [
        f"{measured.members:,} training and {measured.others:,} held-out pieces of "
        f"{measured.piece_tokens} tokens each, so that length tells nothing. Scores: the loss "
        "(Yeom et al., 2018), the loss over the length of the text packed by zlib (Carlini et al., "
        "2021), and Min-K%, the mean over the fifth of the tokens that is least likely (Shi et "
        "al., 2024).",
        "It shows that training left a trace, not that the text can be read from it. The standard "
        "error counts documents, since the pieces of one are alike (Obuchowski, 1997).",
    ]
    if few:
        notes.append(
            f"With {measured.others:,} held-out pieces, {FALSE_POSITIVES:.0%} of them is less than "
            "one: the last column is the share of training pieces above them all."
        )
    columns = ["score", "AUC", "error", "control", "its error",
               f"found at {FALSE_POSITIVES:.0%} false"]  # fmt: skip
    rows = [
        [m.name, f"{m.auc:.3f}", _number(m.error), _number(m.control),
         _number(m.control_error), f"{m.true_positives:.1%}"]
        for m in measured.measures
    ]  # fmt: skip
    return Section(
        "Membership", sentences, columns, rows, plot=membership_plot(measured),
        caption="Left: the losses of both sides. Right: the ROC curve by loss.", notes=notes,
    )  # fmt: skip


def _control(by_loss: Measure) -> str:
    if by_loss.control is None:
        return "Control: there is only one held-out document, so none can be told from another."
    return (
        "Control: every other held-out document is told from the rest of them with an AUC of "
        f"{by_loss.control:.3f} ({_error(by_loss.control_error)}). Neither half was trained on, so "
        "it has to be chance."
    )


def _error(value: float | None) -> str:
    return "too few documents for an error" if value is None else f"standard error {value:.3f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _capacity(capacity: Capacity) -> Section:
    return Section(
        "Capacity",
        [
            f"The network saves {capacity.known_bits:,.0f} bits of the training text's "
            f"{capacity.text_bits:,.0f} ({capacity.known:.0%}). At {BITS_PER_PARAMETER} bits a "
            f"parameter (Morris et al., 2025) its {capacity.parameters:,} parameters have room for "
            f"{capacity.capacity_bits:,.0f}: it uses {capacity.used:.2%} of that.",
        ],
        plot=capacity_plot(capacity),
        notes=[
            f"A piece counts for its bits below {capacity.reference_nats:.2f} nats a token, the "
            "rate of text that was not trained on: the network's own held-out loss, or that of "
            "token frequencies if it is lower. What held-out pieces are below it by chance is "
            "taken off.",
            "It is an estimate from above. A model that learned the language from other text would "
            "need fewer bits as well, and that part is learning; and the capacity was measured on "
            "random tokens, with parameters that all of the text can use.",
        ],
    )
