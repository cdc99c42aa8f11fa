"""`data=...` and a trained model -> a token store in the model's own ids."""

from collections.abc import Sequence

from minigpt.batches.config import DataConfig
from minigpt.command_lines import hydra_value
from minigpt.config import build, compose_config
from minigpt.errors import UserError
from minigpt.evaluation.trained_model import TrainedModel
from minigpt.tokens.prepare import prepare
from minigpt.tokens.store import TokenStore


def other_store(model: TrainedModel, overrides: Sequence[str]) -> TokenStore:
    """The store of the text that `data=...` names, made where it is missing.

    Its tokenizer is the model's, whatever the text. Raises UserError for an override of anything
    but `data`, another tokenizer, and a character that the model's tokenizer lacks.
    """
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if key.partition(".")[0] != "data":
            raise UserError(f"{override}: only data=... names another text; leave it out")
    tokenizer = model.tokenizer
    config = compose_config([f"data.tokenizer={hydra_value(tokenizer.name)}", *overrides])
    data = build(DataConfig, "data", config.data)
    if data.tokenizer != tokenizer.name:
        raise UserError(
            f"data.tokenizer={data.tokenizer}: the model reads the ids of tokenizer "
            f"{tokenizer.name}; leave data.tokenizer out"
        )
    store = prepare(data, tokenizer).store
    other = store.manifest.tokenizer  # a store that was named as it is may have any
    if other["fingerprint"] != tokenizer.fingerprint:
        raise UserError(
            f"{store.folder}: its ids are those of tokenizer {other['name']} (fingerprint "
            f"{other['fingerprint'][:12]}), the model reads {tokenizer.name} "
            f"({tokenizer.fingerprint[:12]}); name the text itself with data=files data.files=[...]"
        )
    return store
