"""Fails a command at one call after the other, and checks what is left and how it goes on."""

import errno
import os
import re
import shutil
from collections import Counter
from dataclasses import dataclass, field

from tests.faults.shim import KILLED, SHORT, TORN, name_of

UNFINISHED = re.compile(r"\.(partial|older|ranges)(/|$)|\.lock$")

# The errors of each kind of call, and True for those after which every later call fails, too.
ERRORS = {
    "write": ((TORN, False), (SHORT, True), (SHORT, False), (errno.EIO, False)),
    "fsync": ((KILLED, False), (errno.EIO, False), (errno.ENOSPC, True)),
    "rename": ((KILLED, False), (errno.EACCES, False), (errno.EIO, False)),
    "open": ((KILLED, False), (errno.ENOSPC, True), (errno.EACCES, False), (errno.EIO, False)),
    "unlink": ((KILLED, False), (errno.EACCES, False), (errno.EIO, True)),
    "mmap": ((KILLED, False), (errno.ENOMEM, False), (errno.EACCES, False)),
    "mkdir": ((KILLED, False), (errno.ENOSPC, True), (errno.EACCES, False)),
    "read": ((errno.EACCES, False), (errno.EIO, True)),
    "truncate": ((KILLED, False), (errno.EIO, False), (errno.EACCES, False)),
}


@dataclass(frozen=True)
class Point:
    """One call that fails."""

    call: str
    number: int
    action: int
    lasting: bool
    path: str  # below the folder
    place: int  # among all calls of the command
    error: int  # among those of its kind of call

    @property
    def in_turn(self):
        """True for one error of each call, for another one at the next."""
        return self.error == self.number % len(ERRORS[self.call])

    def __str__(self):
        what = name_of(self.action) + (" from then on" if self.lasting else "")
        return f"{self.call} {self.number} ({self.path}): {what}"


@dataclass
class Tally:
    """Points of one scenario: how they ended."""

    name: str
    tried: Counter = field(default_factory=Counter)  # by call
    ended: Counter = field(default_factory=Counter)  # killed, refused in one line, did not matter
    faults: list[str] = field(default_factory=list)


def points(trace, calls):
    """Every call of a trace with every error of its kind."""
    numbers = Counter()
    for place, line in enumerate(trace):
        call, _, path = line.partition(" ")
        numbers[call] += 1
        if call in calls:
            for error, (action, lasting) in enumerate(ERRORS[call]):
                yield Point(call, numbers[call], action, lasting, path, place, error)


def start_again(folder, before):
    """Put a folder back to what it was."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(before, folder, symlinks=True)


def every_point(scenario, warm, tmp_path, chosen=lambda point: True):
    """Fails a scenario at every point in turn, or at the chosen ones; returns the tally."""
    before, tally = tmp_path / "before", Tally(scenario.name)
    before.mkdir(parents=True, exist_ok=True)
    scenario.prepare(before, warm)
    start_again(warm.folder, before)
    # In the warm process itself, which is faster at what it has done before.
    whole = warm.run(scenario.words(warm.folder), forked=scenario.has_threads)
    assert whole.code == 0, whole.err
    content = scenario.content(warm.folder)
    for point in points(whole.trace, warm.calls):
        if not (scenario.takes(point) and chosen(point)):
            continue
        start_again(warm.folder, before)
        fault = (point.call, point.number, point.action, point.lasting)
        ended = warm.run(scenario.words(warm.folder), fault)
        if not ended.hits:
            continue  # another order of threads
        tally.tried[point.call] += 1
        problem, how = judged(scenario, warm, point, ended, content)
        tally.ended[how] += 1
        if problem:
            tally.faults.append(f"{point}: {problem}")
    return tally


def judged(scenario, warm, point, ended, content):
    """What is wrong with how a command ended and what the next one made of it; how it ended."""
    how = "killed" if ended.code is not None and ended.code < 0 else "went on"
    if ended.code in (1, 2):
        how = "refused"
    problem = wrong_end(point, ended, warm.folder, scenario.codes)
    problem = problem or scenario.half_files(warm.folder, content)
    if not problem and ended.code == 0 and not scenario.tells(ended):
        found = scenario.content(warm.folder)
        if whole_files(found) != content:
            problem = f"ended with 0, but {difference(whole_files(found), content)}"
    if problem:
        return problem, how
    seen = scenario.progress(warm.folder)
    again = warm.run(scenario.again(warm.folder))
    if again.code != 0:
        return f"the next start ended with {again.code}: {again.err[-1500:]}", how
    if "Traceback" in again.err:
        return f"the next start: {again.err[-1500:]}", how
    found = scenario.content(warm.folder)
    if found != content:
        return f"after the next start {difference(found, content)}", how
    return scenario.lost(warm.folder, seen), how


def wrong_end(point, ended, folder, codes):
    """What is wrong with a command's exit code and output; None if nothing is."""
    if ended.code is None:
        return "it hangs"
    killed = point.action in (KILLED, TORN)
    if killed:
        return None if ended.code == -9 else f"exit code {ended.code}"
    if ended.code not in codes:
        return f"exit code {ended.code}: {ended.err[-1500:]}"
    if "Traceback" in ended.err or "Exception ignored" in ended.err:
        return f"a traceback: {ended.err[-1500:]}"
    if ended.code == 0:
        return None
    start = "error: " if ended.code == 2 else "job "
    lines = [line for line in ended.err.splitlines() if line.startswith(start)]
    if ended.code == 2 and (len(lines) != 1 or ended.err.splitlines()[-1] != lines[0]):
        return f"not one line: {ended.err}"
    reason = os.strerror(errno.ENOSPC if point.action == SHORT else point.action)
    if not any(reason in line and names_a_path(line, folder) for line in lines):
        return f"no path or reason: {lines}"
    return None


def whole_files(content):
    """Without what no reader takes for a whole file."""
    return {name: part for name, part in content.items() if not UNFINISHED.search(name)}


def names_a_path(line, folder):
    """True if a line names a file or folder below the folder, or the folder."""
    return str(folder) in line or re.search(
        r"\b(run|runs|sweep|export|tokens)(/|\b)|own.json", line
    )


def difference(found, expected):
    """The first file in which two contents differ."""
    for name in sorted(found.keys() | expected.keys()):
        if name not in found:
            return f"{name} is missing"
        if name not in expected:
            return f"{name} is left over"
        if found[name] != expected[name]:
            return f"{name} differs: {found[name]!r:.300} instead of {expected[name]!r:.300}"
    return "nothing differs"
