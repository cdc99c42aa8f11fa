"""A token store in memory, its documents given as ids."""

import numpy as np

from minigpt.tokens.document_list import StoredDocument


class Texts:
    """What evaluation reads of a store: the tokens of each split and its documents."""

    def __init__(self, **splits: list[list[int]]) -> None:
        self._splits = {"train": [], "val": [], "test": [], **splits}

    def tokens(self, split: str):
        return np.array([i for ids in self._splits[split] for i in ids], np.uint16)

    def documents(self, split: str):
        start = 0
        for number, ids in enumerate(self._splits[split]):
            yield StoredDocument(f"{split}/{number}", "texts", start, len(ids))
            start += len(ids)
