"""What is killed again and again for an hour ends with the bits of what is left alone."""

import pytest

from tests.faults.soak import soak_all


@pytest.mark.soak
def test_a_run_and_a_sweep_that_are_killed_for_an_hour_end_as_undisturbed_ones(tmp_path):
    for soaked in soak_all(60, tmp_path):
        assert soaked.problem is None
        assert soaked.kills > 30
