"""A dataset of the Hugging Face hub, streamed, or a local folder laid out as one."""

import logging
import random
from collections.abc import Iterator
from typing import Any

from minigpt.errors import UserError
from minigpt.text.config import SourceConfig
from minigpt.text.document import Document
from minigpt.text.file_digests import FileDigests
from minigpt.text.opening import BytesRead, import_optional
from minigpt.text.paths import user_path
from minigpt.text.readers.records import joined, text_of
from minigpt.text.source import HELD_OUT_FIRST, Source


class HubSource(Source):
    """The rows of a dataset's splits, its files in an order that the seed decides.

    A dataset of the hub is known by name and revision only, a local folder by its files.
    """

    def __init__(self, config: SourceConfig, seed: int, digests: FileDigests) -> None:
        assert config.hub_name is not None
        self._config = config
        self._seed = seed
        self._splits = {"train": config.hub_train, "val": config.hub_val, "test": config.hub_test}
        self.bytes = None
        self.identity = ["hub", config.hub_name, str(config.hub_config), str(config.hub_revision)]
        self.identity += [
            str(self._splits),
            config.text_field,
            str(config.document_start),
            str(seed),
        ]
        folder = user_path(config.hub_name)
        self._path = str(folder) if folder.is_dir() else config.hub_name
        if folder.is_dir():
            for path in sorted(folder.rglob("*")):
                if path.is_file():  # its name says which split it belongs to
                    self.identity.append(f"{path.relative_to(folder)} {digests.sha256(path)}")
                else:
                    digests.watch(path)
            digests.watch(folder)  # a file that is added later would be read but not be hashed

    def documents(self, read: BytesRead) -> Iterator[Document]:
        not_in = tuple(split for split in ("val", "test") if self._splits[split] is not None)
        name = str(self._config.hub_name)
        for split in HELD_OUT_FIRST:
            if self._splits[split] is None:
                continue
            texts: Iterator[tuple[str, Any]] = (
                (place, text_of(row, self._config.text_field, place))
                for place, row in self._rows(str(self._splits[split]))
            )
            if self._config.document_start is not None:
                texts = joined(texts, self._config.document_start)
            for place, text in texts:
                yield Document(place, text, name, None if split == "train" else split, not_in)

    def _rows(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        config = self._config
        datasets = import_optional("datasets", f"{config.section}.source=hub")
        datasets.disable_progress_bars()
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it logs every retry
        number = 0
        try:
            rows = datasets.load_dataset(
                self._path,
                config.hub_config,
                split=split,
                revision=config.hub_revision,
                streaming=True,
            )
            files = list(range(rows.num_shards))
            if config.document_start is None:  # else the rows of a document must stay together
                random.Random(self._seed).shuffle(files)
            for file in files:
                for row in rows.shard(num_shards=rows.num_shards, index=file):
                    number += 1
                    yield f"{config.hub_name} {split} row {number}", row
        except UserError:
            raise
        # A network, a hub and a dataset's layout raise many errors that share no class.
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            raise UserError(
                f"{config.section}.source=hub: split {split} of {config.hub_name} could not be "
                f"read after {number} rows ({type(error).__name__}: {reason}); tried the Hugging "
                "Face hub and its local cache; data=files (text, JSON lines, Parquet), "
                "data=stdlib and data=sample work offline"
            ) from None
