"""A checkpoint and a prompt -> text."""

import torch

from minigpt.errors import UserError
from minigpt.model.generate import Sampling, generate
from minigpt.model.gpt import GPT
from minigpt.tokens.tokenizer import Tokenizer


def generate_text(
    net: GPT,
    tokenizer: Tokenizer,
    prompt: str | None,
    max_new_tokens: int,
    sampling: Sampling,
    seed: int,
) -> str:
    """The prompt's continuation; without a prompt, a document from its start.

    Raises UserError for a prompt that is empty or too long, and for a tokenizer without an id
    that separates documents.
    """
    ids = _start_of_document(net, tokenizer) if prompt is None else tokenizer.encode(prompt)
    if not ids:
        raise UserError("the prompt is empty; give at least one token, or use --from-start")
    if len(ids) > net.config.block_size:
        raise UserError(
            f"the prompt has {len(ids)} tokens, the model reads {net.config.block_size} "
            "(its block_size); shorten it"
        )
    if not 0 <= seed < 2**63:
        raise UserError(f"seed must be a whole number from 0 to 2^63 - 1, got {seed}")
    if max_new_tokens < 1:
        raise UserError(f"max_new_tokens must be at least 1, got {max_new_tokens}")
    if max(ids) >= net.config.vocab_size:
        raise UserError(
            f"the prompt holds token id {max(ids)}, the model knows {net.config.vocab_size} "
            "tokens; word it differently"
        )
    tokens = generate(net, torch.tensor([ids]), max_new_tokens, sampling, seed)
    return tokenizer.decode(tokens[0, len(ids) :].tolist())


def _start_of_document(net: GPT, tokenizer: Tokenizer) -> list[int]:
    """The id that stands between documents, after which the next one begins."""
    if tokenizer.end_of_text is None:
        raise UserError(
            f"tokenizer {tokenizer.name} has no id that separates documents, so there is no start "
            "of a document to begin at; give a --prompt"
        )
    if tokenizer.end_of_text >= net.config.vocab_size:
        raise UserError(
            "this model never saw the start of a document: its vocabulary of "
            f"{net.config.vocab_size} has no id {tokenizer.end_of_text}, which separates "
            "documents; give a --prompt"
        )
    return [tokenizer.end_of_text]
