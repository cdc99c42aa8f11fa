"""Where token stores and their copies lie, if a run's config.yaml says so."""

from collections.abc import Collection
from pathlib import Path

from minigpt.errors import UserError
from minigpt.text.paths import is_url, user_path
from minigpt.tokens.config import CorpusConfig
from minigpt.tokens.manifest import MANIFEST


def refuse_foreign_places(config: CorpusConfig, typed: Collection[str], path: Path) -> None:
    """Raises UserError where a run's configuration names a folder that its reader never used.

    The run may be another's, and files would be written there. A folder counts as used if it lies
    below the current one, or holds stores. typed: the keys that this start's user set; path: of
    the configuration.
    """
    places = [] if is_url(config.root) else ["root"]
    if is_url(config.root) or (config.source == "store" and is_url(config.files[0])):
        places.append("cache")
    for key in places:
        place = getattr(config, key)
        is_default = key == "cache" and place == CorpusConfig.cache
        if f"data.{key}" in typed or is_default or _is_used(user_path(place)):
            continue
        raise UserError(
            f"{path}: data.{key}={place} is a folder that minigpt has not used yet; if it is "
            "yours, a resume takes it when you type it again, and minigpt prepare makes its "
            "stores; else leave this run alone"
        )


def _is_used(place: Path) -> bool:
    if place.resolve().is_relative_to(Path.cwd().resolve()):
        return True
    return (place / "digests.json").is_file() or any(
        next(place.glob(f"{depth}/{MANIFEST}"), None) for depth in ("*", "*/*")
    )
