"""The benchmark of learning-rate transfer finds an optimum with few runs, and fits its page."""

import math

import pytest

from minigpt.config import compose_config
from tests.conftest import REPOSITORY
from tests.test_docs import prose_of_markdown, too_wide


@pytest.fixture
def transfer(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import transfer

    return transfer


@pytest.mark.parametrize("optimum", [-9, -3, 0, 1, 6])
def test_the_search_ends_beside_the_optimum(transfer, optimum):
    """optimum: in factors of sqrt 2 from the middle."""
    losses = {"1": {}}
    tried = []
    for k in transfer.rates_to_try(5, losses):
        tried.append(k)
        losses["1"][transfer.MIDDLE * 2 ** (k / 2)] = (k - optimum) ** 2
    assert len(set(tried)) == len(tried) <= transfer.MOST_RATES
    assert {optimum - 1, optimum, optimum + 1} <= set(tried)
    assert max(tried) > optimum > min(tried)


def test_the_networks_are_those_of_the_sweep(transfer):
    config = compose_config(["+sweep=transfer"])
    assert config.budget.tokens == 300 * transfer.BATCH * transfer.CONTEXT
    assert (config.data.batch_size, config.model.block_size) == (transfer.BATCH, transfer.CONTEXT)
    assert config.model.base_width == transfer.BASE_WIDTH


def test_a_page_has_the_movement_under_both(transfer, tmp_path):
    import transfer_page
    from results import wrapped

    def losses(best, floor):
        rates = [transfer.MIDDLE * 2 ** (k / 2) for k in range(-4, 5)]
        return {"1": {repr(r): floor + math.log2(r / best) ** 2 for r in rates}}

    middle = transfer.MIDDLE
    row = ["MLP", "change", "0.01", "0.02", "flat within 2x"]
    check = [["activation", "figure", "width 128", "width 256", "over widths"], [row]]
    figures = {
        "machine": "2 threads of a processor", "overrides": [], "widths": [128, 256],
        "seeds": 1, "steps": 300, "rates": 5, "jobs": 1, "check_steps": 10, "vocabulary": 100,
        "check_seconds": 3.0, "search_seconds": 600.0,
        "check_summary": ["mup: the change is flat."],
        "check": {"standard": check, "mup": check},
        "losses": {
            "standard": {"128": losses(middle, 2.0), "256": losses(middle / 2, 1.9)},
            "mup": {"128": losses(middle, 2.0), "256": losses(middle, 1.8)},
        },
    }  # fmt: skip
    assert transfer_page.movement(figures) == pytest.approx({"standard": 2.0, "mup": 1.0})
    text = wrapped(transfer_page.page(figures))
    assert too_wide(prose_of_markdown(text)) == []
    text = " ".join(text.split())
    assert "From width 128 to 256 the best learning rate is the same to a factor of sqrt 2" in text
    assert "moves by a factor of 2 under `standard`" in text
    assert (
        "Under `mup` twice the width, each at its best rate, lowers the loss by 0.200 nats; a rate "
        "a factor of sqrt 2 from the best raises it by 0.250 on average." in text
    )
    assert "| mup | MLP | change | 0.01 | 0.02 | flat within 2x |" in text
    assert "| standard | 256 | 0.001 |" in text
    assert transfer_page.plot(figures).count("<svg") == 1
