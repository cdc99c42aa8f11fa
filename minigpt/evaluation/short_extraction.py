"""The short form of extraction, for the end of every run: one prefix, few passages."""

from minigpt.evaluation.extraction import (
    CONTINUATION,
    copies_of,
    fitting_prefixes,
    score_continuations,
)
from minigpt.evaluation.memorization import HELD_OUT
from minigpt.evaluation.passages import Documents
from minigpt.evaluation.trained_model import load_model
from minigpt.evaluation.windows import Scorer
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.summary import ComesBack
from minigpt.tokens.store import TokenStore

PASSAGES = 200  # of a side


def short_extraction(run: RunFolder, store: TokenStore) -> ComesBack | None:
    """How much of its training text and of held-out text a run's last weights give back.

    None where context or documents are too short.
    """
    model = load_model(run.last)
    scorer = Scorer(model.net)
    training, unseen = (
        Documents(store, splits, model.tokenizer.end_of_text) for splits in (["train"], HELD_OUT)
    )
    prefixes = fitting_prefixes(model.net.config.block_size, training)
    if not prefixes:
        return None
    prefix = prefixes[-1]
    passages = training.passages(prefix + CONTINUATION, PASSAGES, seed=0)
    whole = score_continuations(scorer, passages, prefix).come_back == CONTINUATION
    once = whole
    if whole.any():  # else there is no need to read the training text for copies
        once = whole[copies_of(passages, store.tokens("train")) == 1]
    held_out = unseen.passages(prefix + CONTINUATION, PASSAGES, seed=0)
    control = score_continuations(scorer, held_out, prefix).come_back == CONTINUATION
    return ComesBack(
        prefix=prefix,
        continuation=CONTINUATION,
        passages=len(passages),
        train=float(whole.mean()),
        train_not_repeated=float(once.mean()) if once.size else None,
        held_out_passages=len(held_out),
        held_out=float(control.mean()) if held_out else None,
    )
