"""README.md of an exported model: what it is, how it was trained, and its figures."""

from minigpt.errors import UserError
from minigpt.model.gpt import count_parameters
from minigpt.model.loss import perplexity
from minigpt.runs.run_folder import run_of
from minigpt.runs.stored_model import StoredModel
from minigpt.runs.summary import Summary
from minigpt.version import code_commit

CARD = "README.md"

HEAD = """---
library_name: transformers
pipeline_tag: text-generation
tags:
- gpt2
- minigpt
---

"""

USE = {
    "hf": """```python
from transformers import pipeline

print(pipeline("text-generation", model="PATH/TO/THIS/FOLDER")("Once upon a time"))
```
""",
    "onnx": """`model.onnx` takes `input_ids`, int64 of (batch, sequence), and gives `logits`,
float32 of (batch, sequence, {vocab_size}). A sequence has at most {block_size} tokens.

```python
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
(logits,) = session.run(None, {{"input_ids": ids}})
```
""",
    "gguf": """`model.gguf` is for llama.cpp and what is built on it:

```sh
llama-cli -m model.gguf -p "Once upon a time"
```
""",
}


def model_card(model: StoredModel, format: str) -> str:
    """Markdown; a run's figures are in it where the checkpoint still lies in its run folder."""
    shape, tokenizer = model.shape, model.tokenizer
    rows = {
        "parameters": f"{sum(count_parameters(shape).values()):,}",
        "layers, heads, width": f"{shape.n_layer}, {shape.n_head}, {shape.n_embd}",
        "context": f"{shape.block_size} tokens",
        "vocabulary": f"{shape.vocab_size:,} ids, tokenizer {tokenizer.name}",
        **_figures(model),
        "fingerprint of the text": f"`{model.text}`" if model.text else "not recorded",
        "fingerprint of the tokenizer": f"`{tokenizer.fingerprint}`",
        "exported by": f"minigpt, commit {code_commit() or 'unknown'}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    use = USE[format].format(block_size=shape.block_size, vocab_size=f"{shape.vocab_size:,}")
    head = HEAD if format == "hf" else ""
    return f"{head}# A small GPT, trained with minigpt\n\n{use}\n| | |\n|---|---|\n{table}\n"


def _figures(model: StoredModel) -> dict[str, str]:
    run = run_of(model.checkpoint)
    if run is None:  # the checkpoint was moved, or it was imported
        return {}
    try:
        summary = run.read_summary()
    except UserError:
        return {}
    figures = {"trained by": f"`{summary.command}`", "weights of step": f"{model.step:,}"}
    loss = _held_out_loss(summary, model.step)
    if loss is not None:
        figures["held-out loss"] = _loss(loss)
    if summary.test is not None and summary.best and summary.best.step == model.step:
        figures["test loss"] = _loss(summary.test.loss)
    if summary.data is not None:
        tokens = summary.data.tokens["train"]
        figures["training text"] = f"{summary.data.source}, {tokens:,} tokens"
    figures["tokens seen"] = f"{summary.tokens_seen:,}"
    if summary.code_commit:
        figures["trained at commit"] = summary.code_commit
    return figures


def _held_out_loss(summary: Summary, step: int) -> float | None:
    """Of the validation at a step; None where there was none."""
    if summary.best and summary.best.step == step:
        return summary.best.val_loss
    return next((epoch.val_loss for epoch in summary.epochs if epoch.step == step), None)


def _loss(nats: float) -> str:
    return f"{nats:.4f} nats a token (perplexity {perplexity(nats):,.2f})"
