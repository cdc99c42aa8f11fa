"""The keys of the `data` config group that decide which text becomes which tokens, checked."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from minigpt.config import build
from minigpt.errors import UserError, check_positive
from minigpt.text.canaries import CanariesConfig, canaries_config
from minigpt.text.config import TextConfig
from minigpt.tokens.near_duplicates import NearDuplicates
from minigpt.tokens.subset import Subset
from minigpt.tokens.tokenizer_name import vocabulary_to_train

TOKENIZER_BYTES = 32_000_000  # of a configuration older than the key


@dataclass(frozen=True)
class CorpusConfig(TextConfig):
    """Which text becomes which tokens: what names a token store."""

    # A token store is not text: it is opened as it is, `files` names its folder.
    choices: ClassVar[tuple[str, ...]] = (*TextConfig.choices, "store")

    max_tokens: int | None  # of the training split; the last document is cut to fit
    val_fraction: float  # of the documents, by the hash of their text
    test_fraction: float
    tokenizer: str | None  # null: a store has its own
    document_tokens: int | None  # cut each document to this many tokens
    end_of_text: bool  # close each document with the tokenizer's <|endoftext|>
    canaries: int | dict[str, Any] | None  # random strings to plant in the training split
    subset: dict[str, Any]  # the share of the training documents that is trained on
    root: str  # the folder that stores live under
    # training text that a tokenizer is trained on at most
    tokenizer_bytes: int = field(default=TOKENIZER_BYTES, kw_only=True)
    # the keys of NearDuplicates, of which {} has the defaults
    near_duplicates: dict[str, Any] | None = field(default=None, kw_only=True)
    cache: str = field(default="~/.cache/minigpt", kw_only=True)  # for copies of remote stores
    cache_bytes: int = field(default=50_000_000_000, kw_only=True)  # of all of them together

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.source == "store" and len(self.files) != 1:
            raise UserError(
                f"data.files={self.files}: source store needs the folder of one token store: "
                "data.files=[outputs/tokens/NAME]"
            )
        if self.tokenizer is not None:
            vocabulary_to_train(self.tokenizer)
        elif self.source != "store":
            raise UserError(
                "data.tokenizer is null, which only data=store can have; choose gpt2, char or "
                "bpe-8192"
            )
        check_positive(
            "data", self, "document_tokens", "max_tokens", "tokenizer_bytes", "cache_bytes"
        )
        for name in ("val_fraction", "test_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"data.{name} must lie in [0, 1), got {getattr(self, name)}")
        if self.val_fraction + self.test_fraction >= 1:
            raise UserError("data.val_fraction + data.test_fraction leaves nothing to train on")
        changed = {
            "canaries": self.planted is not None,
            "subset": not self.chosen.is_all,
            "near_duplicates": self.unique is not None,
        }
        for name, is_changed in changed.items():
            if self.source == "store" and is_changed:
                raise UserError(
                    f"data.{name}: a store that is made already keeps its text; leave the key "
                    "out, or name the text itself in place of data=store"
                )

    @property
    def planted(self) -> CanariesConfig | None:
        """`canaries` in full; None if none are planted."""
        return canaries_config(self.canaries)

    @property
    def unique(self) -> NearDuplicates | None:
        """`near_duplicates`, checked; None if they stay."""
        if self.near_duplicates is None:
            return None
        return build(NearDuplicates, "data.near_duplicates", self.near_duplicates)

    @property
    def chosen(self) -> Subset:
        """`subset`, checked."""
        return build(Subset, "data.subset", self.subset)
