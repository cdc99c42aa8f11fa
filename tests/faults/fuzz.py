"""Feeds every reader of a stranger's files a million damaged inputs: python -m tests.faults.fuzz.

atheris chooses them by the code that they reach. Writes docs/results/fuzzing.md. `--inputs N` for
fewer, `--stdout` to print the page; `--target NAME` is what it starts for each format.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

# Nothing of minigpt is imported before atheris is there to follow it.
REPOSITORY = Path(__file__).parent.parent.parent
PAGE = REPOSITORY / "docs" / "results" / "fuzzing.md"
MEGABYTES = 2048  # that a process may have
SECONDS = 10  # that one input may take
LONGEST = 4096  # bytes of an input
PER_SHARE = 1000


@dataclass
class Fuzzed:
    """What became of the inputs of one format."""

    name: str
    inputs: int
    seconds: float
    finding: str  # the end of a process's output, empty without one


def fuzz_here(name, inputs, seeds):
    """Fuzz one format in this process, which ends with another code than 0 at a finding."""
    import atheris

    with atheris.instrument_imports(include=["minigpt"]):
        from tests.faults.fuzz_targets import TARGETS

    (target,) = [each for each in TARGETS if each.name == name]
    for number, content in enumerate(target.seeds()):
        target.read(content)
        Path(seeds, str(number)).write_bytes(content)
    options = [f"-runs={inputs}", f"-rss_limit_mb={MEGABYTES}", f"-timeout={SECONDS}"]
    options += ["-seed=1", f"-max_len={LONGEST}", f"-artifact_prefix={seeds}/", seeds]
    atheris.Setup([sys.argv[0], *options], target.read)
    atheris.Fuzz()


def fuzz(name, inputs):
    """Fuzz one format in a process of its own."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as seeds:
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.fuzz", "--target", name, "--inputs", str(inputs),
             "--seeds", seeds],
            cwd=REPOSITORY, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
    said = done.stdout + done.stderr
    tried = re.findall(r"^#(\d+)", said, re.M)
    count = max(map(int, tried), default=0)
    finding = ""
    if done.returncode or count < inputs:
        raised = said.find("Uncaught Python exception")
        finding = said[raised:][:3000] if raised >= 0 else said[-3000:]
    return Fuzzed(name, count, time.perf_counter() - started, finding)


def main():
    """Fuzz all formats, or one in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--target")
    parser.add_argument("--seeds")
    parser.add_argument("--stdout", action="store_true")
    args = parser.parse_args()
    if args.target:
        fuzz_here(args.target, args.inputs, args.seeds)
        return
    fuzzed = fuzz_all(args.inputs)
    page = text(fuzzed)
    print(page) if args.stdout else PAGE.write_text(page, "utf-8")


def fuzz_all(inputs):
    """Fuzz every format with its share of so many inputs."""
    from tests.faults.fuzz_targets import TARGETS

    fuzzed = []
    for target in TARGETS:
        fuzzed.append(fuzz(target.name, target.share * inputs // PER_SHARE))
        last = fuzzed[-1]
        print(last.name, last.inputs, f"{last.seconds:.0f} s", last.finding, flush=True)
    return fuzzed


def text(fuzzed):
    """The page."""
    rows = "".join(
        f"| {each.name} | {each.inputs:,} | {each.seconds:.0f} | {1 if each.finding else 0} |\n"
        for each in fuzzed
    )
    total = sum(each.inputs for each in fuzzed)
    findings = sum(bool(each.finding) for each in fuzzed)
    return f"""# A million damaged inputs

*Written by `python -m tests.faults.fuzz`; `make soak` does the same, `make test` a part of it with
hypothesis.*

[atheris](https://github.com/google/atheris) changes whole files and what it made of them, led by
the code of minigpt that an input reaches. A reader may take an input or refuse it with one line
([fuzz_targets.py](../../tests/faults/fuzz_targets.py)). Another exception, {SECONDS} seconds for
one input, or {MEGABYTES:,} MB of memory are a finding, which ends the process of that format.

| format | inputs | s | findings |
|---|---:|---:|---:|
{rows}| all | {total:,} | {sum(each.seconds for each in fuzzed):.0f} | {findings} |

Inputs have at most {LONGEST:,} bytes. Prompts are checked to come back from GPT-2's ids as they
were. What was found on the way is a test now ([the log](../log.md)).
"""


if __name__ == "__main__":
    main()
