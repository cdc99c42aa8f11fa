"""A prompt -> the ids that a network reads."""

from minigpt.errors import UserError
from minigpt.evaluation.trained_model import TrainedModel


def encode_prompt(model: TrainedModel, prompt: str | None) -> list[int]:
    """The ids of a prompt; of None, the id after which a document begins.

    Raises UserError for a prompt that is empty or too long or holds what the network does not
    know, and for a network that knows no id that separates documents.
    """
    if prompt is None:
        return [_start_of_document(model)]
    ids, config = model.tokenizer.encode(prompt), model.net.config
    if not ids:
        raise UserError("the prompt is empty; give at least one token, or use --from-start")
    if len(ids) > config.block_size:
        raise UserError(
            f"the prompt has {len(ids)} tokens, the model reads {config.block_size} "
            "(its block_size); shorten it"
        )
    if max(ids) >= config.vocab_size:
        raise UserError(
            f"the prompt holds token id {max(ids)}, the model knows {config.vocab_size} "
            "tokens; word it differently"
        )
    return ids


def _start_of_document(model: TrainedModel) -> int:
    """The id that stands between documents, after which the next one begins."""
    tokenizer, vocab_size = model.tokenizer, model.net.config.vocab_size
    if tokenizer.end_of_text is None:
        raise UserError(
            f"tokenizer {tokenizer.name} has no id that separates documents, so there is no start "
            "of a document to begin at; give a --prompt"
        )
    if model.separator is None:
        raise UserError(
            f"this model never saw the start of a document: its vocabulary of {vocab_size} has no "
            f"id {tokenizer.end_of_text}, which separates documents; give a --prompt"
        )
    return model.separator
