"""gigatoken as the engine of a byte-pair encoding, with exactly tiktoken's ids.

GPT-2's pattern cuts a text into words by what each character is: a letter, a digit, white space or
something else. tiktoken and gigatoken know different versions of Unicode, so they disagree about a
few characters. Both are asked about each character when it first occurs, with an encoding made for
the question. A text with a character on which they disagree goes through tiktoken.
"""

import contextlib
import ctypes
import mmap
import sys
import tempfile
import threading
from binascii import b2a_base64
from collections.abc import Callable, Sequence
from itertools import compress
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import tiktoken
from numpy.typing import NDArray
from tiktoken_ext.openai_public import r50k_pat_str

SCAN_CHARS = 1 << 18  # characters that are looked up at a time, at six bytes each

# gigatoken remembers every word and never forgets one: hashes, or a language written without
# spaces, would fill the memory. It starts anew, in 50 ms, when the process has grown by this much.
MEMORY_GROWTH = 32 << 20  # bytes
MEASURED_CHARS = 1 << 20  # text between two measurements
BLIND_CHARS = 16 << 20  # text until it starts anew where memory cannot be measured

AGREE, UNKNOWN, DIFFER = range(3)


class NotFastError(Exception):
    """gigatoken cannot make the ids of this encoding; the message says why."""


class FastEncoder:
    """Texts -> tiktoken's ids, about ten times as fast. Threads may share it.

    pattern, ranks: the encoding's. encode_slowly: tiktoken's own call.
    Raises NotFastError if gigatoken is not installed or does not know the encoding.
    """

    def __init__(
        self,
        pattern: str,
        ranks: dict[bytes, int],
        encode_slowly: Callable[[str], NDArray[np.uint32]],
    ) -> None:
        if pattern != r50k_pat_str or set(ranks.values()) != set(range(len(ranks))):
            raise NotFastError("gigatoken does not know this encoding")
        self._ranks = ranks
        self._encode_slowly = encode_slowly
        self._lock = threading.Lock()
        self._engine = _gigatoken(ranks)
        self._question = _Question()
        self._states = np.full(0x110000, UNKNOWN, np.uint8)  # one a code point
        self._ask(range(128))
        if self._states[:128].any():
            raise NotFastError("gigatoken splits ASCII text in another way")
        self._chars = 0  # encoded since memory was measured
        self._memory = _resident_bytes()  # when the engine was made

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.uint32]]:
        """The ids of each text. Python's lock is released meanwhile."""
        engine = self._engine_for(sum(map(len, texts)))
        fast = [
            engine is not None and (text.isascii() or not self._differs(text)) for text in texts
        ]
        rows = iter(_encode(engine, [*compress(texts, fast)]))
        return [
            next(rows) if is_fast else self._encode_slowly(text)
            for text, is_fast in zip(texts, fast, strict=True)
        ]

    def _differs(self, text: str) -> bool:
        """True if the engines may disagree about a character of a text."""
        for start in range(0, len(text), SCAN_CHARS):
            content = text[start : start + SCAN_CHARS].encode("utf-32-le")
            points = np.frombuffer(content, "<u4")
            states = self._states[points]
            if states.any():
                self._ask(np.unique(points[states == UNKNOWN]).tolist())
                if self._states[points].any():
                    return True
        return False

    def _ask(self, points: Sequence[int]) -> None:
        """Finds out whether the engines agree about some code points; halves them where not."""
        if not points:
            return
        if self._question.same_answer(points):
            self._states[points] = AGREE
        elif len(points) == 1:
            self._states[points] = DIFFER
        else:
            half = len(points) // 2
            self._ask(points[:half])
            self._ask(points[half:])

    def _engine_for(self, chars: int) -> Any:
        """The engine for that much text; a new one when it remembers too many words.

        None if no new one can be made.
        """
        with self._lock:
            self._chars += chars
            if self._chars >= MEASURED_CHARS and self._remembers_too_much():
                self._engine = None  # before there is another one
                _return_freed_memory()
                with contextlib.suppress(NotFastError):
                    self._engine = _gigatoken(self._ranks)
                self._chars, self._memory = 0, _resident_bytes()
            return self._engine

    def _remembers_too_much(self) -> bool:
        memory = _resident_bytes()
        if memory is None or self._memory is None:
            return self._chars > BLIND_CHARS
        self._chars = 0
        return memory - self._memory > MEMORY_GROWTH


class _Question:
    """Asks both engines what a character is.

    The only tokens of more than a byte are those of any byte before `a`, `1` or `!`. So a character
    and the sign after it share a token if and only if the pattern leaves both in one word.
    """

    def __init__(self) -> None:
        tokens = [bytes([byte]) for byte in range(256)]
        tokens += [byte + sign for sign in (b"a", b"1", b"!") for byte in tokens[:256]]
        ranks = {token: rank for rank, token in enumerate(tokens)}
        self._tiktoken = tiktoken.Encoding(
            "question", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens={}
        )
        self._gigatoken = _gigatoken(ranks)

    def same_answer(self, points: Sequence[int]) -> bool:
        text = "".join(f"{c}a\n{c}1\n{c}!\n" for c in map(chr, points))
        (ids,) = _encode(self._gigatoken, [text])
        return ids.tolist() == self._tiktoken.encode_ordinary(text)


def _gigatoken(ranks: dict[bytes, int]) -> Any:
    """gigatoken's tokenizer with GPT-2's pattern, these tokens and no special ones."""
    try:
        import gigatoken
    except ImportError:
        raise NotFastError("the package gigatoken is not installed") from None
    lines = [
        b"%b %d\n" % (b2a_base64(token, newline=False), rank)
        for token, rank in sorted(ranks.items(), key=itemgetter(1))
    ]
    try:
        with tempfile.TemporaryDirectory() as folder:  # it reads tokens from a file only
            path = Path(folder, "ranks.tiktoken")
            path.write_bytes(b"".join(lines))
            return gigatoken.Tokenizer.from_tiktoken(path, pretokenizer="gpt2").backend
    except OSError as error:
        raise NotFastError(f"gigatoken needs a temporary file ({error.strerror})") from None


class _HiddenAwkward:
    """While a thread is inside, `import awkward` fails.

    To see whether its input is one of awkward's arrays, gigatoken imports awkward, which takes
    0.25 s. It does without where that package cannot be imported.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._modules: dict[str, Any] = sys.modules

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            self._modules.setdefault("awkward", None)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._modules["awkward"] is None:
                del self._modules["awkward"]


_hidden_awkward = _HiddenAwkward()


def _encode(engine: Any, texts: list[str]) -> list[NDArray[np.uint32]]:
    """The ids of each text, made on this thread while Python's lock is released."""
    if not texts:
        return []
    with _hidden_awkward:
        rows = engine.encode_batch(texts, parallel=False)
    return [np.asarray(row) for row in rows]


def _return_freed_memory() -> None:
    """Gives what was freed between other things back to the system; only glibc has to be told."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _resident_bytes() -> int | None:
    """The memory that this process holds; None where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    except (OSError, ValueError):
        return None
    return pages * mmap.PAGESIZE
