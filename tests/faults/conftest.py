"""The warm process that commands are run in forks of."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.faults.warm_process import Warm

MEMORY = "/dev/shm"  # where a sync costs nothing


@pytest.fixture(scope="session")
def warm():
    folder = Path(tempfile.mkdtemp(dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    process = Warm(folder)
    yield process
    process.close()
    shutil.rmtree(folder)
