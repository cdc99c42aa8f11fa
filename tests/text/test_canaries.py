"""Canaries follow from their seed, and a wrong key is one line."""

from itertools import islice

import pytest

from minigpt.errors import UserError
from minigpt.text.canaries import CanariesConfig, canaries_config, make_canaries, random_texts


def test_a_number_is_short_for_the_defaults():
    assert canaries_config(None) is None
    assert canaries_config(2) == CanariesConfig(repeats=[1, 4, 16, 64], each=2, seed=1)
    assert canaries_config({"repeats": [3]}) == CanariesConfig(repeats=[3], each=4, seed=1)
    assert CanariesConfig([1, 4], each=3, seed=1).copies == 15


def test_a_seed_gives_these_strings_in_every_version_of_python():
    made = make_canaries(CanariesConfig([4, 1], each=1, seed=1))
    assert [(canary.name, canary.text, canary.repeats) for canary in made] == [
        ("canary 1x #1", "The random number is 053 060 605 043.\n", 1),
        ("canary 4x #1", "The random number is 118 818 801 196.\n", 4),
    ]


def test_another_seed_gives_other_strings_and_references_are_others_again():
    strings = [
        {canary.text for canary in make_canaries(CanariesConfig([1, 2], 50, seed))}
        for seed in (1, 2)
    ]
    strings.append({*islice(random_texts("references"), 1000)})
    assert [len(some) for some in strings] == [100, 100, 1000]
    assert len(set.union(*strings)) == 1200


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"repeats": []}, r"data.canaries.repeats must be different whole numbers above 0, such"),
        ({"repeats": [0, 1]}, r"data.canaries.repeats must be different .* got \[0, 1\]"),
        ({"repeats": [4, 4]}, r"data.canaries.repeats must be different .* got \[4, 4\]"),
        ({"repeats": 4}, "data.canaries.repeats must be list, got 4"),
        ({"each": 0}, "data.canaries.each must be at least 1, got 0; data.canaries=null plants"),
        (0, "data.canaries.each must be at least 1, got 0; data.canaries=null plants none"),
        ({"seed": -1}, "data.canaries.seed must be at least 0, got -1"),
        ({"seed": "x"}, "data.canaries.seed must be int, got 'x'"),
        ({"eech": 2}, "unknown key data.canaries.eech; did you mean 'data.canaries.each'"),
        (20_000, r"1,700,000 copies in all are more than 1,000,000; lower data.canaries.each or"),
    ],
)
def test_a_wrong_key_is_named_with_the_way_out(value, message):
    with pytest.raises(UserError, match=message):
        canaries_config(value)
