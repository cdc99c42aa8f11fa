"""A worker of a divided preparation: tokenizes one range, whichever engine calls it."""

import os
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from minigpt.config import build
from minigpt.errors import UserError
from minigpt.text.file_digests import TextChangedError
from minigpt.text.source import Source
from minigpt.tokens.config import CorpusConfig
from minigpt.tokens.open_text import open_text
from minigpt.tokens.planting import plant
from minigpt.tokens.ranges import Job, RangeFiles, write_range
from minigpt.tokens.tokenizer import Tokenizer, from_spec


def work_on_range(folder: str, number: int, current_folder: str) -> None:
    """Tokenize a range, unless it is finished; a file says why that failed.

    current_folder: where the preparation was started; paths of text may be relative to it.
    """
    files = RangeFiles(Path(folder), number)
    if files.is_finished:
        return
    files.error.unlink(missing_ok=True)
    try:
        os.chdir(current_folder)
        ranges, parts, tokenizer = _opened(folder)
        first, end = ranges[number]
        write_range(files, parts[first:end], tokenizer)
    except Exception as error:
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        files.error.write_text(reason, "utf-8")
        raise


@lru_cache(1)  # a worker has many ranges of one preparation
def _opened(folder: str) -> tuple[list[list[int]], list[Source], Tokenizer]:
    job = Job.read(Path(folder))
    config = build(CorpusConfig, "data", job.config)
    tokenizer = from_spec(job.tokenizer)
    _, _, source = open_text(config)
    source = plant(config, source, tokenizer.n_vocab)
    if source.identity != job.text:
        raise TextChangedError("the text is another one than where the preparation was started")
    return job.ranges, source.divided(), tokenizer


def main() -> None:
    """Work on the ranges whose numbers come by standard input, until it is closed."""
    folder, current_folder = sys.argv[1:]
    for number in sys.stdin:
        with suppress(Exception):  # a file tells the preparation, which looks for the range next
            work_on_range(folder, int(number), current_folder)
        print("done", flush=True)


if __name__ == "__main__":
    main()
