"""An exploration -> the figures of each split and network, for people and for scripts."""

from typing import Any

import numpy as np

from minigpt.evaluation.exploration import Exploration, Reading
from minigpt.evaluation.known_spans import known_spans

SHORTEST_SPAN = 16  # tokens in a row that are a network's first choice


def exploration_figures(exploration: Exploration) -> list[dict[str, Any]]:
    """For each split what is shown of it, and each network's loss and known spans on that.

    loss: nats a token; known_share: the share of tokens that are in a known span; longest_span: in
    tokens, 0 without any.
    """
    figures, start = [], 0
    for part in exploration.splits:
        end = start + len(part.excerpts)
        figures.append(
            {
                "split": part.split,
                "documents": len(part.excerpts),
                "of_documents": part.documents,
                "too_short": part.too_short,
                "whole": sum(len(e.ids) == e.document_tokens for e in part.excerpts),
                "tokens": sum(len(e.ids) for e in part.excerpts),
                "runs": [_figures(r, slice(start, end)) for r in exploration.readings],
            }
        )
        start = end
    return figures


def _figures(reading: Reading, part: slice) -> dict[str, float | int]:
    rows = reading.rows[part]
    nats = np.concatenate([document.nats for document in rows])
    spans = [span.tokens for document in rows for span in known_spans(document.rank, SHORTEST_SPAN)]
    return {
        "loss": float(nats.mean(dtype=np.float64)),
        "known_spans": len(spans),
        "known_share": sum(spans) / len(nats),
        "longest_span": max(spans, default=0),
    }
