"""What no other point beats."""

from minigpt.statistics.pareto import pareto_front


def test_the_pareto_front_is_what_nothing_beats():
    points = [(1, 5.0), (2, 4.0), (3, 4.5), (4, 3.0), (2, 6.0)]
    assert pareto_front(points) == [(1, 5.0), (2, 4.0), (4, 3.0)]
