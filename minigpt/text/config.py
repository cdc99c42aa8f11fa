"""The keys of the `data` config group that say where text comes from, checked.

Imports nothing heavy, so that `minigpt prepare` starts quickly.
"""

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any, ClassVar

from minigpt.config import build
from minigpt.errors import UserError, check_choice, check_positive, check_types

SINGLE_SOURCES = ("sample", "stdlib", "files", "hub")


@dataclass(frozen=True)
class SourceConfig:
    """One place that documents come from.

    Raises UserError, naming the key, on a wrong type or value.
    """

    choices: ClassVar[tuple[str, ...]] = SINGLE_SOURCES

    source: str
    files: list[str]  # files: paths and globs
    val_files: list[str]
    test_files: list[str]
    text_field: str  # the field or column of a record that holds its text
    document_start: str | None  # regex: a document begins at each row that matches; null: each row
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
        check_choice(f"{self.section}.source", self.source, self.choices)
        if self.source == "hub" and not self.hub_name:
            raise UserError(f"{self.section}.hub_name is not set: source hub needs owner/dataset")
        if self.source == "files" and not self.files:
            raise UserError(
                f"{self.section}.files is empty; name text files or globs: {self.section}.files="
                "[notes/*.txt]"
            )
        if self.document_start is not None:
            try:
                re.compile(self.document_start)
            except re.error as error:
                raise UserError(
                    f"{self.section}.document_start={self.document_start!r} is not a regular "
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


@dataclass(frozen=True)
class TextConfig(SourceConfig):
    """The text of a corpus: one source, or a mixture of several."""

    choices: ClassVar[tuple[str, ...]] = (*SINGLE_SOURCES, "mix")

    sources: dict[str, Any]  # mix: name -> {weight, source, and the keys of that source}
    mix_seed: int  # decides the order of a hub dataset's files and which source of a mixture starts

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
        """The sources of a mixture. A key that one leaves out has the value of the `data` group."""
        if self.source != "mix":
            return []
        defaults = {f.name: getattr(self, f.name) for f in dataclasses.fields(SourceConfig)}
        del defaults["source"]
        parts = []
        for name, keys in self.sources.items():
            section = f"data.sources.{name}"
            if not isinstance(keys, dict):
                raise UserError(f"{section} must be {{weight: ..., source: ...}}, got {keys!r}")
            part = {"weight": 1.0, **defaults, **keys}
            parts.append(build(PartConfig, section, part, name=name))
        return parts
