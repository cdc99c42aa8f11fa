"""The text that a network gave back, and the documents that it comes from, as sections."""

from collections.abc import Sequence

from minigpt.evaluation.extraction import CONTINUATION, KnownDocument
from minigpt.evaluation.longest_spans import RecalledSpan
from minigpt.evaluation.memorization_result import Memorization
from minigpt.evaluation.repetition import SPAN
from minigpt.reports.page_section import Quotation, Section


def spans_section(memory: Memorization) -> Section:
    longest = memory.train_spans[0]
    sentences = [
        f"The longest has {longest.tokens:,} tokens, from token {longest.position:,} of "
        f"{longest.document}. The text that was given is grey; what the network wrote by itself "
        "is marked.",
        "A span that comes back whole is followed to its first wrong token or the document's end. "
        "Past its context the network reads the last half of it and goes on.",
    ]
    if longest.tokens < CONTINUATION:
        sentences.append(f"No passage comes back whole: none has {CONTINUATION} tokens.")
    documents = {(d.name, d.split): f"document-{i}" for i, d in enumerate(memory.train.documents)}
    quotations = [_quotation(span, documents) for span in memory.train_spans]
    if memory.held_out_spans:
        sentences.append(
            "Spans of held-out text, marked as such, are the control: the network never saw them."
        )
        quotations += [_quotation(span, documents) for span in memory.held_out_spans[:3]]
    return Section("What comes back", sentences, quotations=quotations)


def _quotation(span: RecalledSpan, documents: dict[tuple[str, str], str]) -> Quotation:
    end = span.position + span.tokens
    if span.copies == 0:
        copies = f"no {SPAN} tokens of it stand in the training text"
    else:
        times = "once" if span.copies == 1 else f"up to {span.copies:,} times"
        copies = f"{SPAN} tokens of it stand {times} in the training text"
    held_out = "" if span.split == "train" else "held-out text; "
    return Quotation(
        target=documents.get((span.document, span.split), ""),
        source=span.document,
        note=f"tokens {span.position:,} to {end:,} ({span.tokens:,}); {held_out}{copies}; the "
        f"{CONTINUATION} tokens from there are drawn with probability {span.probability:.2g}",
        prefix=span.prefix,
        text=span.text,
    )


def documents_section(documents: Sequence[KnownDocument]) -> Section:
    rows = [[d.name, f"{d.passages:,}", f"{d.extracted:.1%}"] for d in documents]
    return Section(
        "Documents that come back",
        ["The best known first; documents of which no passage comes back are not listed."],
        ["document", "passages", "come back"],
        rows,
        ids=[f"document-{i}" for i in range(len(rows))],
    )
