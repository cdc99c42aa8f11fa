"""A run's configuration does not decide where files are written."""

import pytest

from minigpt.errors import UserError
from minigpt.tokens.manifest import MANIFEST
from minigpt.tokens.places import refuse_foreign_places


@pytest.fixture
def refused(data, tmp_path, monkeypatch):
    """The reason why these keys of `data` are refused, in a folder of its own; None if not."""
    (here := tmp_path / "here").mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # where no store is

    def reason(*typed, **keys):
        config = data(**{"root": "outputs/tokens", **keys})
        try:
            refuse_foreign_places(config, typed, here / "config.yaml")
        except UserError as error:
            return str(error).partition(" that minigpt has not used yet")[0]
        return None

    return reason


def test_a_folder_below_the_current_one_is_the_users(refused):
    assert refused() is None
    assert refused(root="tokens") is None


def test_a_folder_that_holds_stores_is_the_users(refused, tmp_path):
    config = tmp_path / "here" / "config.yaml"
    for root in (f"{tmp_path}/tokens", "../tokens", "~/.cache/minigpt"):
        assert refused(root=root) == f"{config}: data.root={root} is a folder"
    store = tmp_path / "tokens" / "files-gpt2-0123456789abcdef"
    store.mkdir(parents=True)
    (store / MANIFEST).write_text("{}")
    assert refused(root=f"{tmp_path}/tokens") is None


def test_what_is_typed_is_the_users(refused, tmp_path):
    assert refused("data.root", root=f"{tmp_path}/tokens") is None


def test_a_cache_counts_where_there_is_a_url(refused, tmp_path):
    cache, config = f"{tmp_path}/cache", tmp_path / "here" / "config.yaml"
    assert refused(cache=cache) is None
    assert refused(root="s3://bucket/tokens") is None
    reason = f"{config}: data.cache={cache} is a folder"
    assert refused(root="s3://bucket/tokens", cache=cache) == reason
