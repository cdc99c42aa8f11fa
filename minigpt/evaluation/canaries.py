"""How well a network knows the canaries that were planted in its training text."""

import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigpt.evaluation.trained_model import TrainedModel, documents_of
from minigpt.evaluation.windows import Scorer, score_documents
from minigpt.statistics.exposure import extrapolated_exposure, rank, sampled_exposure
from minigpt.text.canaries import DOMAIN, NAME, SPACE, random_texts
from minigpt.tokens.store import TokenStore

REFERENCES = 4096  # random strings that were not planted


@dataclass(frozen=True)
class CanaryExposure:
    """A canary, and its exposure in bits (Carlini et al., 2019)."""

    name: str
    text: str
    repeats: int  # copies in the training text
    nats: float  # of the whole string
    rank: int  # among the references and itself; 1: likelier than each of them
    sampled: float  # by the rank: at most log2(references + 1)
    extrapolated: float  # by a normal fit to the references: at most log2(space)


@dataclass(frozen=True)
class CanaryExposures:
    """The exposure of every canary, by rising repeats."""

    canaries: list[CanaryExposure]
    references: int  # random strings of the same form, not planted
    reference_nats: float  # their mean
    reference_deviation: float  # their standard deviation, in nats
    space: int  # strings of the form

    def means(self) -> dict[int, tuple[float, float]]:
        """The mean exposure by number of repeats: sampled and extrapolated."""
        by_repeats: dict[int, list[CanaryExposure]] = {}
        for canary in self.canaries:
            by_repeats.setdefault(canary.repeats, []).append(canary)
        return {
            repeats: (
                statistics.fmean(canary.sampled for canary in some),
                statistics.fmean(canary.extrapolated for canary in some),
            )
            for repeats, some in by_repeats.items()
        }

    @property
    def is_monotone(self) -> bool:
        """True if the mean exposure never falls with more repeats.

        By the extrapolated form: the sampled one ends at log2(references + 1).
        """
        extrapolated = [mean for _, mean in self.means().values()]
        return extrapolated == sorted(extrapolated)


def canary_exposures(
    model: TrainedModel, store: TokenStore, references: int = REFERENCES
) -> CanaryExposures | None:
    """The exposures of the canaries in a store's training split; None if there are none.

    references: strings to compare with, at least two.
    """
    repeats, ids = _planted(model, store)
    if not ids:
        return None
    texts = {name: model.tokenizer.decode(string.tolist()) for name, string in ids.items()}
    others = (text for text in random_texts("references") if text not in texts.values())
    encoded = (np.array(model.tokenizer.encode(text)) for text in others)
    # A vocabulary that was cut to a text may lack a token of some string.
    fitting = (string for string in encoded if string.max() < model.net.config.vocab_size)
    sample = [*islice(fitting, references)]
    nats = _nats(model, [*ids.values(), *sample])
    known, unknown = nats[: len(ids)], nats[len(ids) :]
    canaries = [
        CanaryExposure(
            name,
            texts[name],
            repeats[name],
            nats,
            rank(nats, unknown),
            sampled_exposure(nats, unknown),
            extrapolated_exposure(nats, unknown, SPACE),
        )
        for name, nats in zip(ids, known, strict=True)
    ]
    return CanaryExposures(
        sorted(canaries, key=lambda canary: (canary.repeats, canary.name)),
        references,
        statistics.fmean(unknown),
        statistics.stdev(unknown),
        SPACE,
    )


def _planted(
    model: TrainedModel, store: TokenStore
) -> tuple[Counter[str], dict[str, NDArray[np.unsignedinteger[Any]]]]:
    """How often each canary is in the training split, and its ids, by name."""
    repeats: Counter[str] = Counter()
    ids_of: dict[str, NDArray[np.unsignedinteger[Any]]] = {}
    if DOMAIN in store.manifest.domains:
        for document, ids in documents_of(store, "train", model.tokenizer):
            if document.domain == DOMAIN and NAME.fullmatch(document.name):
                repeats[document.name] += 1
                ids_of[document.name] = ids
    return repeats, ids_of


def _nats(model: TrainedModel, strings: Iterable[NDArray[np.integer[Any]]]) -> list[float]:
    """The surprise of each string at the start of a document."""
    # Where a string is longer than the context, half of it stays in view.
    stride = max(1, model.net.config.block_size // 2)
    scores = score_documents(Scorer(model.net), strings, model.separator, stride)
    return [float(string.nats.sum(dtype=np.float64)) for string in scores]
