"""What is installed is exactly what the requirement files name, by version and by hash."""

import re
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

FILES = sorted((REPOSITORY / "requirements").glob("*.txt"))
PIN = re.compile(r"^([a-z0-9-]+)==([^ ;]+)(?: ;[^\\]*)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$")


def pins_of(file):
    """The version of each package that a requirement file names; each line is a pin or its hash."""
    pins, hashed = {}, True
    for line in file.read_text().splitlines():
        if line.startswith("#"):
            continue
        if pin := PIN.match(line):
            assert hashed, f"{file.name}: no hash before {line}"
            pins[pin[1]], hashed = pin[2], False
        else:
            assert HASH.match(line), f"{file.name}: {line}"
            hashed = True
    return pins


def constraints():
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {re.sub("[-_.]+", "-", name).lower(): version for name, version in pairs}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_requirement_has_hashes_and_the_version_of_the_constraints(file):
    pins = pins_of(file)
    assert pins
    wanted = constraints()
    assert {name: wanted[name] for name in pins if name in wanted} == {
        name: version for name, version in pins.items() if name in wanted
    }


def test_every_constraint_is_a_requirement():
    assert constraints().keys() - {name for file in FILES for name in pins_of(file)} == set()


def test_what_is_installed_is_complete():
    check = subprocess.run(
        [sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False
    )
    assert (check.returncode, check.stdout) == (0, "No broken requirements found.\n")
