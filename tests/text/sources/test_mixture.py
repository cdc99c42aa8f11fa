"""A mixture holds the shares of its sources at every point."""

import json
import math
from collections import Counter

import pytest

from minigpt.errors import UserError
from tests.documents import documents


@pytest.fixture
def two_files(tmp_path):
    for name, size in {"long": 90, "short": 10}.items():
        lines = [json.dumps({"text": f"{name} {i} ".ljust(size, ".")}) for i in range(300)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    return tmp_path


def mix(data, folder, long, short, seed=1):
    return data(
        "mix",
        sources={
            "long": {"source": "files", "files": [f"{folder}/long.jsonl"], "weight": long},
            "short": {"source": "files", "files": [f"{folder}/short.jsonl"], "weight": short},
        },
        mix_seed=seed,
    )


@pytest.mark.parametrize(("long", "short"), [(1, 1), (3, 1), (9, 1), (1, 0.5)])
def test_each_source_has_its_weights_share_of_the_text_at_every_point(data, two_files, long, short):
    chars = Counter()
    for document in documents(mix(data, two_files, long, short)):
        chars[document.domain] += len(document.text)
        assert abs(chars["long"] / long - chars["short"] / short) <= max(90 / long, 10 / short) + 1
    assert max(chars["long"] // 90, chars["short"] // 10) == 300  # to the end of one of them


def test_what_sources_hold_out_comes_before_the_mixture_and_counts_for_no_share(data, two_files):
    config = mix(data, two_files, 1, 1)
    held = [f"{two_files}/short.jsonl"]
    sources = {**config.sources, "long": {**config.sources["long"], "val_files": held}}
    found = documents(data("mix", sources=sources))
    assert {(d.domain, d.split) for d in found[:300]} == {("long", "val")}
    chars = Counter()
    for document in found[300:]:
        chars[document.domain] += len(document.text)
    assert chars["long"] == pytest.approx(chars["short"], abs=100)


def test_a_mixture_is_the_same_each_time(data, two_files):
    assert documents(mix(data, two_files, 1, 2)) == documents(mix(data, two_files, 1, 2))
    first = {documents(mix(data, two_files, 1, 1, seed))[0].domain for seed in range(8)}
    assert first == {"long", "short"}


def test_a_weight_without_end_is_refused(data, two_files):
    with pytest.raises(UserError, match="data.sources.short.weight must be a finite number"):
        mix(data, two_files, 1, math.inf)


@pytest.mark.parametrize("weight", [0, -1, 0.0])
def test_weights_of_nothing_or_less_are_refused(data, two_files, weight):
    message = f"data.sources.short.weight must be above 0, got {weight}"
    with pytest.raises(UserError, match=message):
        mix(data, two_files, 1, weight)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({}, "data.sources is empty"),
        ({"a": 3}, "data.sources.a must be .*, got 3"),
        (
            {"a": {"source": "mix"}},
            "data.sources.a.source=mix is not one of sample, stdlib",
        ),
        ({"a": {"source": "store"}}, "data.sources.a.source=store is not one of sample, stdlib"),
        ({"a": {"source": "web"}}, "data.sources.a.source=web is not one of sample"),
        ({"a": {"source": "hub"}}, "data.sources.a.hub_name is not set"),
        ({"a": {"source": "files"}}, "data.sources.a.files is empty"),
        ({"a": {"wieght": 1}}, "unknown key data.sources.a.wieght; did you mean .*weight"),
        ({"a": {"weight": "1", "source": "sample"}}, "data.sources.a.weight must be float"),
    ],
)
def test_a_wrong_source_is_refused_by_its_key(data, sources, message):
    with pytest.raises(UserError, match=message):
        data("mix", sources=sources)
