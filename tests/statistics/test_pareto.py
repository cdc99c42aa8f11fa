"""The Pareto front of a few points."""

from minigpt.statistics.pareto import pareto_front


def test_no_point_beats_one_of_the_pareto_front_in_cost_and_loss():
    points = [(1, 5.0), (2, 4.0), (3, 4.5), (4, 3.0), (2, 6.0)]
    assert pareto_front(points) == [(1, 5.0), (2, 4.0), (4, 3.0)]
