"""`minigpt compare` for scripts."""

import json

from minigpt.reports.comparison import compare, comparison_figures
from minigpt.runs.summary import Status
from tests.written_runs import write_run


def test_a_comparison_is_told_to_a_script(tmp_path, type_minigpt):
    write_run(tmp_path / "runs" / "0", 5.5)
    write_run(tmp_path / "runs" / "1", 5.0, optimizer__lr=5e-4)
    write_run(tmp_path / "runs" / "2", float("nan"), status=Status.FAILED, reason="it broke")
    typed = type_minigpt("compare", "runs", "--json", "--out", "out")
    assert (typed.code, typed.err) == (0, "")
    found = json.loads(typed.out, parse_constant=lambda name: 1 / 0)  # NaN is not JSON
    assert found["differing"] == ["optimizer.lr"]
    assert [run["run"] for run in found["runs"]] == ["1", "0", "2"]
    assert [run["best_val_loss"] for run in found["runs"]] == [5.0, 5.5, None]
    assert found["runs"][0]["optimizer.lr"] == 5e-4
    assert found["runs"][2]["status"] == "failed"
    assert any(
        sentence.startswith("Best: 1, held-out loss 5.000") for sentence in found["findings"]
    )
    assert found["ranked_by"] == "nats"
    assert [(s["runs"], s["mean"], s["difference"]) for s in found["settings"]] == [
        (["1"], 5.0, None),
        (["0"], 5.5, 0.5),
    ]
    assert found["settings"][1]["corrected_p"] is None  # one seed, and no documents
    assert found["report"] == "out/report.html"
    assert (tmp_path / "out" / "report.html").is_file()
    assert comparison_figures(compare(["runs"], "out"), "out") == found
