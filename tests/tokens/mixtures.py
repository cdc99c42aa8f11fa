"""Two sources of a hundred short documents each, as `data.sources` names them."""

import json


def mixture(folder):
    """Three parts of source a for one of source b."""
    for name in ("a", "b"):
        lines = [json.dumps({"text": f"{name} tide {i}"}) for i in range(100)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return {
        name: {"source": "files", "files": [f"{folder}/{name}.jsonl"], "weight": weight}
        for name, weight in (("a", 3), ("b", 1))
    }
