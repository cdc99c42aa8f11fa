"""Opens the text of a corpus, beside the folder that its token stores live in."""

from pathlib import Path

from minigpt.errors import UserError
from minigpt.text.file_digests import FileDigests
from minigpt.text.open_source import open_source
from minigpt.text.paths import is_url, user_path
from minigpt.text.source import Source
from minigpt.tokens.config import CorpusConfig
from minigpt.tokens.near_duplicates import UniqueSource
from minigpt.tokens.object_store import local_root


def open_text(config: CorpusConfig) -> tuple[Path, FileDigests, Source]:
    """The folder for stores, the digests that tell if a file has changed, and the source.

    Raises UserError if the folder cannot be made or the text not be found.
    """
    cache = user_path(config.cache)
    root = local_root(config.root, cache) if is_url(config.root) else user_path(config.root)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"data.root={config.root} cannot be made a folder: {error}") from None
    with FileDigests(root / "digests.json") as digests:
        source = open_source(config, digests)
        unique = config.unique
        return root, digests, source if unique is None else UniqueSource(source, unique)
