"""A run's configuration does not decide where files are written."""

import pytest

from minigpt.errors import UserError
from minigpt.tokens.manifest import MANIFEST
from minigpt.tokens.places import refuse_foreign_places


@pytest.fixture
def refuse(data, tmp_path, monkeypatch):
    """Calls it for these keys of `data`, in a folder that was made for it."""
    (here := tmp_path / "here").mkdir()
    monkeypatch.chdir(here)

    def call(*typed, **keys):
        config = data(**{"root": "outputs/tokens", **keys})
        refuse_foreign_places(config, typed, here / "config.yaml")

    return call


def test_a_folder_below_the_current_one_is_the_users(refuse):
    refuse()
    refuse(root="tokens")


def test_a_folder_that_holds_stores_is_the_users(refuse, tmp_path):
    refused = f"data.root={tmp_path}/tokens is a folder that minigpt has not used yet"
    with pytest.raises(UserError, match=refused):
        refuse(root=f"{tmp_path}/tokens")
    with pytest.raises(UserError, match=r"data.root=\.\./tokens is a folder that minigpt has not"):
        refuse(root="../tokens")
    store = tmp_path / "tokens" / "files-gpt2-0123456789abcdef"
    store.mkdir(parents=True)
    (store / MANIFEST).write_text("{}")
    refuse(root=f"{tmp_path}/tokens")


def test_what_is_typed_is_the_users(refuse, tmp_path):
    refuse("data.root", root=f"{tmp_path}/tokens")


def test_a_cache_counts_where_there_is_a_url(refuse, tmp_path):
    refuse(cache=f"{tmp_path}/cache")
    refuse(root="s3://bucket/tokens")
    with pytest.raises(UserError, match=f"data.cache={tmp_path}/cache is a folder that minigpt"):
        refuse(root="s3://bucket/tokens", cache=f"{tmp_path}/cache")
