"""Whether training text can be told from held-out text of the same source by its loss.

Shapes: N pieces.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minigpt.evaluation.pieces import Pieces
from minigpt.statistics.ranking import auc, auc_error, true_positive_rate

FALSE_POSITIVES = 0.01
LIKELY_SHARE = 0.2  # of a piece's tokens, the least likely ones, for Min-K%


def _loss(pieces: Pieces) -> NDArray[np.float64]:
    """Yeom et al., 2018."""
    return -pieces.loss


def _loss_over_zlib(pieces: Pieces) -> NDArray[np.float64]:
    """Carlini et al., 2021: a loss is low for simple text as well, and zlib knows which is."""
    return -pieces.loss / pieces.zlib_bytes


def _min_k(pieces: Pieces) -> NDArray[np.float64]:
    """Shi et al., 2024: text that was not seen has a few words that surprise."""
    k = max(1, int(LIKELY_SHARE * pieces.nats.shape[1]))
    return -np.sort(pieces.nats, axis=1)[:, -k:].mean(1, dtype=np.float64)


def _zlib(pieces: Pieces) -> NDArray[np.float64]:
    """Needs no network: above chance where the two texts differ by more than training."""
    return -pieces.zlib_bytes.astype(np.float64)


# Name -> (N) scores, higher for what is taken for training text.
MEASURES: dict[str, Callable[[Pieces], NDArray[np.float64]]] = {
    "loss": _loss,
    "loss / zlib": _loss_over_zlib,
    "Min-20%": _min_k,
    "zlib alone": _zlib,
}


@dataclass(frozen=True)
class Measure:
    """How well one score tells training text from held-out text."""

    name: str
    auc: float  # 0.5 is chance, 1 is certain
    error: float | None  # standard error of the AUC; None where a side is one document
    true_positives: float  # share of the training text found at FALSE_POSITIVES
    control: float | None  # AUC between every other held-out document and the rest; None: only one
    control_error: float | None  # None where a half is one document


@dataclass(frozen=True)
class Membership:
    """Membership inference on pieces of training and held-out text of equal length."""

    piece_tokens: int
    members: int  # pieces of the training text
    others: int  # pieces of the held-out text
    measures: list[Measure]  # by loss first
    train_losses: list[float]  # nats a token of each piece
    held_out_losses: list[float]

    @property
    def auc(self) -> float:
        """By loss."""
        return self.measures[0].auc


def membership(train: Pieces, held_out: Pieces) -> Membership:
    """How well each of MEASURES tells training pieces from held-out ones."""
    return Membership(
        piece_tokens=train.nats.shape[1] + 1,
        members=len(train.nats),
        others=len(held_out.nats),
        measures=[
            _measure(name, score(train), score(held_out), train.document, held_out.document)
            for name, score in MEASURES.items()
        ],
        train_losses=train.loss.round(4).tolist(),
        held_out_losses=held_out.loss.round(4).tolist(),
    )


def _measure(
    name: str,
    members: NDArray[np.float64],
    others: NDArray[np.float64],
    member_documents: NDArray[np.int64],
    other_documents: NDArray[np.int64],
) -> Measure:
    area = auc(members, others)
    control = control_error = None
    in_first_half = other_documents % 2 == 0
    if not in_first_half.all():
        first, second = others[in_first_half], others[~in_first_half]
        control = auc(first, second)
        control_error = auc_error(
            first, second, other_documents[in_first_half], other_documents[~in_first_half]
        )
    return Measure(
        name=name,
        auc=area,
        error=auc_error(members, others, member_documents, other_documents),
        true_positives=true_positive_rate(members, others, FALSE_POSITIVES),
        control=control,
        control_error=control_error,
    )
