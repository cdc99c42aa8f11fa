"""The folder of a run: the only place that knows the names of its files."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from minigpt.atomic_file import explain_disk_errors, is_half_written, write_file
from minigpt.errors import UserError, reason_of
from minigpt.json_text import parse_json
from minigpt.ordinary_file import read_text
from minigpt.runs.config_limits import PARTS, NotPlainError, check_references, check_text

if TYPE_CHECKING:
    from minigpt.runs.summary import Summary

CONFIG = "config.yaml"
CONFIG_BYTES = 1_000_000  # a run writes a few thousand
SLURM_JOB = ".slurm_job"
SECTIONS = {"model", "data", "optimizer", "trainer"}  # of every config.yaml that minigpt writes


class UnreadableError(UserError):
    """A file that may be whole, but its permissions or a broken disk keep it."""


class RunFolder:
    """The files of one run, named and read; nothing is created before something is written."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config = self.path / CONFIG
        self.summary = self.path / "summary.json"
        self.metrics = self.path / "metrics.csv"
        self.checkpoints = self.path / "checkpoints"
        self.best = self.checkpoints / "best.ckpt"
        self.last = self.checkpoints / "last.ckpt"
        self.documents = self.path / "documents.parquet"
        self.evaluation = self.path / "evaluation.json"
        self.memorization = self.path / "memorization.json"
        self.memorization_page = self.path / "memorization.html"
        self.explorer = self.path / "explore.html"
        self.steps_not_taken = self.path / "steps_not_taken"  # their text
        self.slurm_job = self.path / SLURM_JOB  # that began the run, or the sweep
        self._lock = self.path / ".lock"

    def step_not_taken(self, step: int, rank: int | None) -> Path:
        """Where the text of a step is that was not finite; rank: whose part, None for all."""
        name = f"step-{step}" if rank is None else f"step-{step}-rank-{rank}"
        return self.steps_not_taken / f"{name}.json"

    @property
    def has_run(self) -> bool:
        """True if a run has begun here: its configuration is written, and not empty."""
        return self.config.is_file() and self.config.stat().st_size > 0

    @property
    def has_checkpoint(self) -> bool:
        """True if there is something to resume from."""
        return self.last.exists() or self.best.exists()

    @property
    def is_empty(self) -> bool:
        """True if nothing but a lock and half-written files is there, or there is no folder."""
        return not self.path.is_dir() or all(
            path == self._lock or is_half_written(path) for path in self.path.iterdir()
        )

    @property
    def is_only_run(self) -> bool:
        """True if nothing but a run's files is in the folder, so that it may be emptied."""
        named = {path.name for path in vars(self).values()} - {self.path.name}
        return all(
            path.name in named
            or path.name.startswith("events.out.tfevents.")
            or is_half_written(path)
            for path in self.path.iterdir()
        )

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Hold the folder for this process; the lock of a process that died does not count.

        Raises UserError where another process holds it, or the folder cannot be written, or has
        links through which a run would write elsewhere.
        """
        for path in [*self.path.glob("*"), *self.checkpoints.rglob("*")]:
            if path.is_symlink():
                raise UserError(
                    f"{path} is a link, and a run writes in its own folder only; put what it "
                    "stands for in its place, or remove it"
                )
        with explain_disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._lock)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                raise UserError(
                    f"{self.path} is in use by another process; wait until it ends, or choose "
                    "another folder (hydra.run.dir=..., of a sweep hydra.sweep.dir=...)"
                ) from None
        try:
            yield
        finally:
            lock.release()

    @property
    def is_claimed(self) -> bool:
        """True while a process, this one included, holds the folder."""
        if not self._lock.exists():
            return False
        lock = FileLock(self._lock)
        try:
            lock.acquire(blocking=False)
        except (Timeout, OSError):
            return True
        lock.release()
        return False

    def empty(self) -> None:
        """Remove what an earlier start left, except the lock that this process holds."""
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != self._lock:
                path.unlink()

    def remove_if_empty(self) -> None:
        """Remove the folder where a start left nothing that can be read in it."""
        if self.path.is_dir() and self.is_empty:
            for path in self.path.iterdir():
                path.unlink(missing_ok=True)
            self.path.rmdir()

    def read_config(self) -> dict[str, Any]:
        """The run's configuration as plain values.

        Raises UserError where there is none, where it is damaged or another program's, or where it
        has what no run writes: a file too large, aliases, which can stand for any amount of memory,
        and interpolations, which can read the environment. Only `${key}` may stand for a value of
        a callback or logger.
        """
        try:
            text = read_text(self.config, CONFIG_BYTES)
            check_text(text)
            content = OmegaConf.to_container(OmegaConf.create(text))
            check_references(content)
        except Exception as error:  # of the parser: even an assertion, of a text like "No"
            _raise_if_unreadable(self.config, error)
            kind = str(error) if isinstance(error, NotPlainError) else reason_of(error)
            raise UserError(
                f"{self.config} cannot be read ({kind}); name the folder of a run"
            ) from None
        if not isinstance(content, dict) or not _has_sections(content):
            raise UserError(f"{self.config} is not the configuration of a minigpt run")
        return {str(key): value for key, value in content.items()}

    def write_config(self, config: dict[str, Any]) -> None:
        """Write config.yaml, its keys in the order given."""
        write_file(self.config, OmegaConf.to_yaml(OmegaConf.create(config)))

    def read_summary(self) -> "Summary":
        """The summary; Status.KILLED where it says that it runs and no process holds the folder.

        Raises UserError where there is none, or it is damaged.
        """
        # Imported only now: --help and a completion must not wait for pydantic.
        from minigpt.runs.summary import Status, parse_summary

        try:
            content = parse_json(read_text(self.summary))
        except (OSError, ValueError) as error:
            _raise_if_unreadable(self.summary, error)
            raise UserError(
                f"{self.summary} cannot be read ({reason_of(error)}); the run has not begun "
                "to train, or the file is damaged"
            ) from None
        summary = parse_summary(content, self.summary)
        if summary.status is Status.RUNNING and not self.is_claimed:
            return summary.model_copy(update={"status": Status.KILLED})
        return summary

    def write_summary(self, summary: "Summary") -> None:
        """Replace summary.json. Raises UserError where the folder is gone: it is not made anew."""
        if not self.path.is_dir():
            raise UserError(
                f"{self.path} is gone: it was removed or renamed while it was in use, and what was "
                "in it is not made again"
            )
        write_file(self.summary, summary.model_dump_json(indent=2) + "\n")


def run_of(path: Path) -> RunFolder | None:
    """The run whose folder a path is, or whose checkpoint; None where it is neither."""
    folder = path if path.is_dir() else path.absolute().parent.parent
    run = RunFolder(folder)
    is_of_run = path.is_dir() or path.absolute().parent == run.checkpoints
    return run if is_of_run and run.has_run else None


def find_run_folders(place: Path) -> list[RunFolder]:
    """Every run in and below a folder, in no particular order.

    A run's own subfolders, and other programs' files of the same name, are left out.
    """
    return [RunFolder(folder) for folder, is_run in _configured_folders(place) if is_run]


def newest_run(place: Path) -> RunFolder | None:
    """The run below a folder whose configuration was written last; it may be a sweep's job."""
    deepest = 3  # outputs/sweeps/SWEEP/JOB
    configs = [
        path
        for depth in range(1, deepest + 1)
        for path in place.glob("*/" * depth + CONFIG)
        if RunFolder(path.parent).has_run
    ]
    newest = max(configs, key=lambda path: path.stat().st_mtime, default=None)
    return None if newest is None else RunFolder(newest.parent)


def find_foreign_folders(place: Path) -> list[Path]:
    """Folders in and below a folder that hold another program's config.yaml, or a damaged one."""
    return sorted(folder for folder, is_run in _configured_folders(place) if not is_run)


def _configured_folders(place: Path) -> Iterator[tuple[Path, bool]]:
    """Each outermost folder that has a config.yaml, and whether that is a run's."""
    folders = {path.parent for path in place.rglob(CONFIG)}
    for folder in folders:
        if not folders.isdisjoint(folder.parents):
            continue
        try:
            RunFolder(folder).read_config()
        except UnreadableError:
            raise
        except UserError:
            yield folder, False
        else:
            yield folder, True


def _has_sections(content: dict[Any, Any]) -> bool:
    parts = [content.get(group) or {} for group in PARTS]
    return all(isinstance(section, dict) for section in [*map(content.get, SECTIONS), *parts])


def _raise_if_unreadable(path: Path, error: Exception) -> None:
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EIO):
        raise UnreadableError(
            f"{path} cannot be read ({error.strerror}); it may be whole, so see to its permissions "
            "or its disk first"
        ) from None
