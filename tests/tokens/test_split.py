"""Held-out shares follow the fractions, by the hash of the text alone."""

import pytest

from minigpt.tokens.split import Digest, HeldOut, held_out


def place(text):
    return Digest(text).place


def test_shares_follow_the_fractions():
    texts = [f"document {i}" for i in range(5000)]
    rule = held_out(map(place, texts), val=0.1, test=0.2)
    assert rule == HeldOut(0.2, pytest.approx(0.3))
    splits = [rule.split(place(text)) for text in texts]
    assert splits.count("val") / 5000 == pytest.approx(0.1, abs=0.02)
    assert splits.count("test") / 5000 == pytest.approx(0.2, abs=0.02)


def test_a_text_is_at_the_same_place_on_every_machine():
    assert place("document 1") == pytest.approx(0.7915155947969588)  # the first 48 bits of sha256


@pytest.mark.parametrize("n", [3, 4, 10, 40])
@pytest.mark.parametrize("seed", range(5))
def test_a_few_documents_still_fill_every_share(n, seed):
    texts = [f"text {seed} {i}" for i in range(n)]
    rule = held_out(map(place, texts), val=0.01, test=0.01)
    splits = {rule.split(place(text)) for text in texts}
    assert splits == {"train", "val", "test"}


def test_two_documents_are_one_to_train_on_and_one_to_validate():
    texts = ["a", "b"]
    rule = held_out(map(place, texts), val=0.01, test=0.01)
    assert sorted(rule.split(place(text)) for text in texts) == ["train", "val"]


def test_a_share_of_nothing_stays_empty():
    places = [0.001, 0.2, 0.9]
    assert held_out(places, val=0.0, test=0.0) == HeldOut(0.0, 0.0)
    assert held_out(places, val=0.5, test=0.0) == HeldOut(0.0, 0.5)
    assert held_out([], val=0.1, test=0.1) == HeldOut(0.1, 0.2)


def test_a_text_read_in_pieces_has_the_hash_of_the_whole():
    whole, pieces = Digest("a text in two"), Digest("a text", " in two")
    assert (pieces.place, pieces.key, pieces.chars) == (whole.place, whole.key, 13)
    assert whole.key != Digest("another").key


@pytest.mark.parametrize(("val", "test"), [(0.3, 0.1), (0.05, 0.05), (0.5, 0.49), (0.01, 0.9)])
@pytest.mark.parametrize("n", [2, 3, 4, 10])
def test_there_is_always_a_document_to_train_and_to_validate_on(n, val, test):
    for seed in range(200):
        places = [place(f"text {seed} {i}") for i in range(n)]
        splits = [held_out(places, val, test).split(at) for at in places]
        assert {"train", "val"} <= set(splits)
        assert "test" in splits or n == 2


def test_shares_that_would_take_every_document_leave_the_last_one():
    assert held_out([0.01, 0.2, 0.35], val=0.3, test=0.1) == HeldOut(0.1, 0.35)
    assert held_out([0.01, 0.02, 0.03], val=0.3, test=0.1) == HeldOut(0.02, 0.03)
    assert held_out([0.2], val=0.3, test=0.1) == HeldOut(0.1, 0.2)


def test_a_share_that_another_one_left_empty_gets_a_document():
    assert held_out([0.01, 0.02, 0.9], val=0.3, test=0.1) == HeldOut(0.02, 0.9)


def test_splits_with_text_of_their_own_need_no_share():
    rule = HeldOut(0.1, pytest.approx(0.4))
    assert held_out([0.2, 0.3], val=0.3, test=0.1, named={"val"}) == rule  # both are trained on
    assert held_out([0.05, 0.2], val=0.3, test=0.1, named={"val"}) == rule
    assert held_out([0.05, 0.06], val=0.3, test=0.1, named={"val"}) == HeldOut(0.06, 0.06)
