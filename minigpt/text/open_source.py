"""Opens the source of text that the configuration names."""

from minigpt.text.config import PartConfig, SourceConfig, TextConfig
from minigpt.text.file_digests import FileDigests
from minigpt.text.source import Source
from minigpt.text.sources.files import FilesSource
from minigpt.text.sources.hub import HubSource
from minigpt.text.sources.mixture import MixtureSource
from minigpt.text.sources.sample import SampleSource
from minigpt.text.sources.stdlib import StdlibSource


def open_source(config: TextConfig, digests: FileDigests) -> Source:
    """The source of a corpus. `digests` hashes its files and can tell later if one has changed.

    Raises UserError for a missing file, a glob without a match, a folder, or a file of a format
    that cannot be read.
    """
    if config.source == "mix":
        parts: list[tuple[PartConfig, Source]] = [
            (part, _open_one(part, config.mix_seed, digests)) for part in config.parts()
        ]
        return MixtureSource(parts, config.mix_seed)
    return _open_one(config, config.mix_seed, digests)


def _open_one(config: SourceConfig, seed: int, digests: FileDigests) -> Source:
    if config.source == "hub":
        return HubSource(config, seed, digests)
    if config.source == "files":
        return FilesSource(config, digests)
    return {"sample": SampleSource, "stdlib": StdlibSource}[config.source](digests)
