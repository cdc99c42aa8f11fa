"""A checkpoint or run folder -> the network, its tokenizer and the text it was trained on."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from minigpt.batches.config import DataConfig
from minigpt.config import build
from minigpt.errors import UserError
from minigpt.model.gpt import GPT, GPTConfig
from minigpt.runs.run_folder import RunFolder
from minigpt.runs.stored_model import read_model
from minigpt.tokens.byte_pairs import TrainedTokenizer
from minigpt.tokens.document_list import StoredDocument
from minigpt.tokens.places import refuse_foreign_places
from minigpt.tokens.prepare import prepare
from minigpt.tokens.sharded import Tokens
from minigpt.tokens.store import TokenStore
from minigpt.tokens.tokenizer import Tokenizer
from minigpt.training.memory import physical_memory


@dataclass(frozen=True)
class TrainedModel:
    """A network in eval mode, and what it takes to show it text."""

    net: GPT
    tokenizer: Tokenizer
    separator: int | None  # the id that stands between documents; None if it never saw one
    checkpoint: Path
    text: str  # fingerprint of the token store that it was trained on


def load_model(path: Path, which: str = "best") -> TrainedModel:
    """The network and the tokenizer of a checkpoint, or of a run folder's best or last one.

    Raises UserError where it is not a checkpoint, its weights are not of the shape it names, or
    its context is too long for this machine's memory.
    """
    stored = read_model(path, which)
    _check_context_fits(stored.shape, stored.checkpoint)
    return TrainedModel(
        stored.network(), stored.tokenizer, stored.separator, stored.checkpoint, stored.text
    )


def _check_context_fits(shape: GPTConfig, path: Path) -> None:
    """The context needs no weights, so that a file of any size may name any length."""
    cache = 2 * shape.n_layer * shape.n_embd * shape.block_size * 4  # keys and values, in float32
    if cache > (memory := physical_memory()):
        raise UserError(
            f"{path}: its context of model.block_size={shape.block_size} needs "
            f"{cache / 2**30:,.0f} GiB for the keys and values of one text, and this machine has "
            f"{memory / 2**30:,.0f} GiB"
        )


def data_of_run(run: RunFolder) -> DataConfig:
    """The text of a run and its batches, as its configuration names them.

    Raises UserError where it names places that may be another's.
    """
    data = build(DataConfig, "data", OmegaConf.create(run.read_config()["data"]))
    refuse_foreign_places(data, (), run.config)
    return data


def training_store(run: RunFolder, model: TrainedModel) -> TokenStore:
    """The token store that a run was trained on, made again where it is missing.

    Raises UserError where the text has changed since.
    """
    # A trained tokenizer is not trained again, nor its file looked for.
    is_trained = isinstance(model.tokenizer, TrainedTokenizer)
    tokenizer = model.tokenizer if is_trained else None
    store = prepare(data_of_run(run), tokenizer, uploads=False).store
    if store.manifest.fingerprint != model.text:
        raise UserError(
            f"{run.path}: its text has changed since it was trained (fingerprint "
            f"{store.manifest.fingerprint[:12]}, the checkpoint's is {model.text[:12]}); put the "
            "old files back, or name other text with data=..."
        )
    return store


def documents_of(
    store: TokenStore, split: str, tokenizer: Tokenizer
) -> Iterator[tuple[StoredDocument, NDArray[np.unsignedinteger[Any]]]]:
    """Each document of a split with its ids, without the id that ends it."""
    tokens = store.tokens(split)
    for document in store.documents(split):
        yield document, document_ids(tokens, document, tokenizer)


def document_ids(
    tokens: Tokens, document: StoredDocument, tokenizer: Tokenizer
) -> NDArray[np.unsignedinteger[Any]]:
    """The ids of one document, without the id that ends it; tokens are those of its split."""
    ids = tokens[document.start : document.start + document.tokens]
    # No text holds this id: inside a text its words are ordinary ones.
    is_closed = len(ids) > 0 and ids[-1] == tokenizer.end_of_text
    return ids[:-1] if is_closed else ids
