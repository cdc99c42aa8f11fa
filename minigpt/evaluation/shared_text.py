"""One or two trained networks -> the text that all of them can be shown."""

from collections.abc import Sequence

from minigpt.errors import UserError
from minigpt.evaluation.trained_model import TrainedModel, training_store
from minigpt.runs.run_folder import RunFolder
from minigpt.tokens.store import TokenStore


def shared_store(runs: Sequence[RunFolder], models: Sequence[TrainedModel]) -> TokenStore:
    """The token store that all runs were trained on.

    Raises UserError where their tokenizers or texts differ, or the text has changed since.
    """
    first, first_run = models[0], runs[0]
    for model, run in zip(models[1:], runs[1:], strict=True):
        if model.tokenizer.fingerprint != first.tokenizer.fingerprint:
            raise UserError(
                f"{first_run.path} and {run.path} have different tokenizers ("
                f"{first.tokenizer.name} {first.tokenizer.fingerprint[:12]}, "
                f"{model.tokenizer.name} {model.tokenizer.fingerprint[:12]}), so their losses a "
                "token cannot be compared; explore each alone"
            )
        if model.text != first.text:
            raise UserError(
                f"{first_run.path} and {run.path} were trained on different texts (fingerprints "
                f"{first.text[:12]}, {model.text[:12]}); explore each alone, or name one text "
                "for both with data=..."
            )
    return training_store(first_run, first)


def check_text(models: Sequence[TrainedModel], store: TokenStore) -> None:
    """Raises UserError unless all networks know the store's ids."""
    manifest = store.manifest
    for model in models:
        if model.tokenizer.fingerprint != manifest.tokenizer["fingerprint"]:
            raise UserError(
                f"{model.checkpoint} has another tokenizer ({model.tokenizer.name} "
                f"{model.tokenizer.fingerprint[:12]}) than the text {store.folder} ("
                f"{manifest.tokenizer['name']} {manifest.tokenizer['fingerprint'][:12]}); name "
                "text of the same tokenizer with data=... and data.tokenizer=..."
            )
        if manifest.largest_id >= model.net.config.vocab_size:
            raise UserError(
                f"{model.checkpoint} knows {model.net.config.vocab_size:,} ids, but the text "
                f"{store.folder} has id {manifest.largest_id:,}; name other text with data=..."
            )
