"""A run -> did it learn or memorise: extraction, membership and capacity, and a verdict."""

from dataclasses import dataclass

from minigpt.errors import UserError
from minigpt.evaluation.canaries import canary_exposures
from minigpt.evaluation.capacity import Capacity, capacity
from minigpt.evaluation.extraction import (
    CONTINUATION,
    PREFIXES,
    Extraction,
    check_context,
    copies_of,
    extraction,
    fitting_prefixes,
    score_continuations,
)
from minigpt.evaluation.longest_spans import RecalledSpan, longest_spans
from minigpt.evaluation.membership import Membership, membership
from minigpt.evaluation.memorization_result import Losses, Memorization
from minigpt.evaluation.memory_verdict import Evidence, Extracted, judge
from minigpt.evaluation.passages import Documents
from minigpt.evaluation.pieces import piece_length, score_pieces
from minigpt.evaluation.trained_model import TrainedModel, load_model, training_store
from minigpt.evaluation.unigram import unigram_loss
from minigpt.evaluation.windows import Scorer
from minigpt.model.gpt import count_parameters
from minigpt.runs.run_folder import RunFolder
from minigpt.tokens.store import TokenStore
from minigpt.tokens.tokenizer import Tokenizer

HELD_OUT = ("val", "test")  # neither is trained on
WINDOWS = 1000  # passages of a side


def memorization(
    run: RunFolder, which: str = "last", windows: int = WINDOWS, seed: int = 0
) -> Memorization:
    """What the network of a run knows of the run's text.

    The last checkpoint says most: the best by held-out loss is the one that memorised least.
    Raises UserError where the text is too short or has changed, or the context is too short.
    """
    if windows < 1:
        raise UserError(f"windows must be at least 1, got {windows}")
    if not 0 <= seed < 2**63:
        raise UserError(f"seed must be a whole number from 0 to 2^63 - 1, got {seed}")
    if not run.path.is_dir():
        raise UserError(f"{run.path} is not a folder; name the folder of a run")
    model = load_model(run.path, which)
    check_context(model.net.config.block_size)
    return measure(model, training_store(run, model), windows, seed)


def measure(model: TrainedModel, store: TokenStore, windows: int, seed: int) -> Memorization:
    """What a network knows of the store that it was trained on."""
    end_of_text = model.tokenizer.end_of_text
    training = Documents(store, ["train"], end_of_text)
    unseen = Documents(store, HELD_OUT, end_of_text)
    prefixes = fitting_prefixes(model.net.config.block_size, training)
    if not prefixes:
        raise UserError(
            f"no document has the {PREFIXES[0] + CONTINUATION} tokens in which memorised text is "
            f"looked for ({PREFIXES[0]} of prefix and {CONTINUATION} to come); the longest has "
            f"{training.lengths.max(initial=0)}"
        )
    side = _Side(Scorer(model.net), model.tokenizer, store, prefixes, windows, seed)
    train, train_spans = side.extraction(training, copies_of_itself=1)
    if unseen.count_passages(prefixes[-1] + CONTINUATION):
        held_out, held_out_spans = side.extraction(unseen, copies_of_itself=0)
    else:
        held_out, held_out_spans = None, []
    losses, told_apart, bits = side.losses(training, unseen)
    judgement = judge(
        Evidence(
            train=_extracted(train),
            held_out=_extracted(held_out) if held_out else None,
            train_loss=losses.train if losses else None,
            held_out_loss=losses.held_out if losses else None,
            unigram_loss=losses.unigram if losses else None,
            membership_auc=told_apart.auc if told_apart else None,
        )
    )
    return Memorization(
        judgement=judgement,
        checkpoint=model.checkpoint.name,
        prefixes_left_out=[prefix for prefix in PREFIXES if prefix not in prefixes],
        train=train,
        held_out=held_out,
        train_spans=train_spans,
        held_out_spans=held_out_spans,
        losses=losses,
        membership=told_apart,
        capacity=bits,
        canaries=canary_exposures(model, store),
        windows=windows,
        seed=seed,
    )


def _extracted(side: Extraction) -> Extracted | None:
    """Passages that are not repeated, and how many of them come back; None without any."""
    share = side.extracted_once
    if share is None:
        return None
    return Extracted(side.not_repeated, round(share * side.not_repeated))


@dataclass(frozen=True)
class _Side:
    """What the measurements of both sides, training and held-out text, share."""

    scorer: Scorer
    tokenizer: Tokenizer
    store: TokenStore
    prefixes: list[int]
    windows: int
    seed: int

    def extraction(
        self, documents: Documents, copies_of_itself: int
    ) -> tuple[Extraction, list[RecalledSpan]]:
        """copies_of_itself: of each passage in the training text; with more it is repeated."""
        passages = documents.passages(self.prefixes[-1] + CONTINUATION, self.windows, self.seed)
        by_prefix = {p: score_continuations(self.scorer, passages, p) for p in self.prefixes}
        copies = copies_of(passages, self.store.tokens("train"))
        spans = longest_spans(
            self.scorer, documents, passages, by_prefix[self.prefixes[-1]], copies, self.tokenizer
        )
        return extraction(documents, passages, by_prefix, copies > copies_of_itself), spans

    def losses(
        self, training: Documents, unseen: Documents
    ) -> tuple[Losses | None, Membership | None, Capacity | None]:
        """The figures that follow from the losses of pieces; None where there are too few."""
        config = self.scorer.net.config
        length = piece_length([training, unseen], config.block_size)
        if length is None:
            return None, None, None
        train, held_out = (
            score_pieces(self.scorer, side, self.tokenizer, length, self.windows, self.seed)
            for side in (training, unseen)
        )
        unigram = unigram_loss(self.store, HELD_OUT, config.vocab_size)
        losses = Losses(float(train.loss.mean()), float(held_out.loss.mean()), unigram)
        # Text that was not trained on needs no more than the better of the two.
        reference = min(losses.held_out, losses.unigram)
        parameters = sum(count_parameters(config).values())
        bits = capacity(train.loss, held_out.loss, reference, training.tokens, parameters)
        return losses, membership(train, held_out), bits
