"""The keys of the `data` config group that say where text comes from, checked.

Nothing heavy is imported here, so that `minigpt prepare` is quick.
"""

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any

from minigpt.config import build
from minigpt.errors import UserError, check_choice, check_positive, check_types

SOURCES = ("sample", "stdlib", "files", "hub", "mix", "store")


@dataclass(frozen=True)
class SourceConfig:
    """One place that documents come from.

    Raises UserError, naming the key, on a wrong type or value.
    """

    source: str
    files: list[str]  # files: paths and globs of text, JSON lines and Parquet; store: its folder
    val_files: list[str]
    test_files: list[str]
    text_field: str  # of a JSON line, a Parquet file or a hub dataset
    document_start: str | None  # a regex: rows are joined until one matches; null: each is one
    hub_name: str | None  # hub: a dataset of the Hugging Face hub, or a folder laid out as one
    hub_config: str | None
    hub_revision: str | None  # a commit pins the text; null: the newest when it is prepared
    hub_train: str
    hub_val: str | None  # null: a share of the documents
    hub_test: str | None

    @property
    def section(self) -> str:
        return "data"

    def __post_init__(self) -> None:
        check_types(self.section, self)
        check_choice(f"{self.section}.source", self.source, SOURCES)
        if self.source == "hub" and not self.hub_name:
            raise UserError(f"{self.section}.hub_name is not set: source hub needs owner/dataset")
        if self.source == "files" and not self.files:
            raise UserError(
                f"{self.section}.files is empty; name text files or globs: {self.section}.files="
                "[notes/*.txt]"
            )
        if self.source == "store" and len(self.files) != 1:
            raise UserError(
                f"{self.section}.files={self.files}: source store needs the folder of one token "
                f"store: {self.section}.files=[outputs/tokens/NAME]"
            )
        if self.document_start is not None:
            try:
                re.compile(self.document_start)
            except re.error as error:
                raise UserError(
                    f"{self.section}.document_start={self.document_start!r} is no regular "
                    f"expression: {error}"
                ) from None


@dataclass(frozen=True)
class PartConfig(SourceConfig):
    """One source of a mixture, `data.sources.<name>`."""

    name: str
    weight: float  # its share of the mixture's text, relative to the others'

    @property
    def section(self) -> str:
        return f"data.sources.{self.name}"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self.section, self, "weight")
        if not math.isfinite(self.weight):
            raise UserError(f"{self.section}.weight must be a finite number, got {self.weight}")
        if self.source in ("mix", "store"):
            raise UserError(f"{self.section}.source={self.source}: a mixture is made of texts")


@dataclass(frozen=True)
class TextConfig(SourceConfig):
    """The text of a corpus: one source, or a mixture of several."""

    sources: dict[str, Any]  # mix: name -> {weight, source, and what that source needs}
    mix_seed: int  # of the order of a hub dataset's files, and of a mixture

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mix_seed < 0:
            raise UserError(f"data.mix_seed must be at least 0, got {self.mix_seed}")
        if self.source == "mix" and not self.sources:
            raise UserError(
                "data.sources is empty; name the sources of the mixture: "
                "'+data.sources.NAME={weight: 1, source: files, files: [...]}'"
            )
        self.parts()

    def parts(self) -> list[PartConfig]:
        """The sources of a mixture; a key that one leaves out is the group's own."""
        if self.source != "mix":
            return []
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(SourceConfig)}
        del own["source"]
        found = []
        for name, given in self.sources.items():
            section = f"data.sources.{name}"
            if not isinstance(given, dict):
                raise UserError(f"{section} must be {{weight: ..., source: ...}}, got {given!r}")
            found.append(build(PartConfig, section, {"weight": 1.0, **own, **given}, name=name))
        return found
