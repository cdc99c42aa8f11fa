"""At whatever call a disk fails or a process ends, nothing is half written and nothing is lost."""

import pytest

from tests.faults.all_scenarios import COMMANDS, LONG, ONE_OF, WRITERS
from tests.faults.harness import every_point
from tests.faults.warm_process import Warm


def name_of(scenario):
    return scenario.name


@pytest.mark.parametrize("scenario", WRITERS, ids=name_of)
def test_a_writer_leaves_the_old_file_or_the_new_one(scenario, warm, tmp_path):
    tally = every_point(scenario, warm, tmp_path)
    assert tally.faults == []
    assert tally.tried.total() > 20


@pytest.mark.parametrize("scenario", COMMANDS, ids=name_of)
def test_a_command_that_failed_goes_on_to_the_same_end(scenario, warm, tmp_path):
    step = ONE_OF.get(scenario.name, 1)
    tally = every_point(scenario, warm, tmp_path, lambda p: p.in_turn and p.place % step == 0)
    assert tally.faults == []
    assert tally.tried.total() > 3


@pytest.mark.soak
@pytest.mark.parametrize("scenario", LONG, ids=name_of)
def test_a_command_fails_at_every_call_with_every_error(scenario, warm, tmp_path):
    tally = every_point(scenario, warm, tmp_path)
    assert tally.faults == []
    assert tally.tried.total() > 50


def test_without_a_compiler_python_shows_most_calls(tmp_path):
    warm = Warm(tmp_path, compiled=False)
    tally = every_point(WRITERS[0], warm, tmp_path, lambda point: point.in_turn)
    warm.close()
    assert tally.faults == []
    assert {"open", "fsync", "rename", "unlink", "mkdir"} <= tally.tried.keys()
