"""A corpus of forty short files as a store of characters."""

import pytest


@pytest.fixture
def forty(data, corpus):
    """The config of forty short files, with changes."""

    def make(**changes):
        config = {"tokenizer": "char", "val_fraction": 0.2, "test_fraction": 0.2}
        return data(**{"files": [f"{corpus}/*.txt"], **config, **changes})

    return make
