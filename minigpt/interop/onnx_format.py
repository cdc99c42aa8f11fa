"""Writes model.onnx, and proves with onnxruntime that it computes the same logits."""

from pathlib import Path
from typing import Any

import torch

from minigpt.errors import UserError
from minigpt.interop.tokenizer_files import FILES, write_tokenizer
from minigpt.model.gpt import GPT
from minigpt.runs.stored_model import StoredModel

MODEL = "model.onnx"
NAMES = (MODEL, *FILES)

TOLERANCE = 1e-4  # of logits, relative where they are larger than 1
LARGEST = 2**31 - 2**20  # bytes; a file of ONNX holds less than 2 GiB


def write_onnx(model: StoredModel, folder: Path) -> dict[str, Any]:
    """Write an ONNX folder, with the largest difference of a logit from the network's own.

    Raises UserError where the packages are missing, or the model is too large for one file.
    """
    try:
        import onnx
        import onnxruntime

        from minigpt.interop.onnx_graph import onnx_graph
    except ModuleNotFoundError as error:
        raise UserError(
            f"--format onnx needs the package {error.name}: pip install 'minigpt[export]'"
        ) from None
    net = model.network()
    if sum(p.numel() for p in net.parameters()) * 4 > LARGEST:
        raise UserError("--format onnx: the model is larger than 2 GiB; use --format hf")
    graph = onnx_graph(model.shape, model.weights)
    onnx.checker.check_model(graph)
    onnx.save(graph, str(folder / MODEL))
    session = onnxruntime.InferenceSession(str(folder / MODEL), providers=["CPUExecutionProvider"])
    difference = _check_logits(net, session)
    has_tokenizer = write_tokenizer(
        model.tokenizer, model.shape.vocab_size, model.shape.block_size, folder
    )
    return {"max_difference": difference, "tokenizer_files": has_tokenizer}


def _check_logits(net: GPT, session: Any) -> float:
    """The largest difference of a logit over several batches and lengths."""
    largest = 0.0
    rng = torch.Generator().manual_seed(0)
    T = net.config.block_size
    for shape in ((1, 1), (2, -(-T // 3)), (1, T)):
        ids = torch.randint(net.config.vocab_size, shape, generator=rng)
        with torch.inference_mode():
            ours = net(ids)
        (theirs,) = session.run(None, {"input_ids": ids.numpy()})
        difference = (torch.from_numpy(theirs) - ours).abs()
        largest = max(largest, difference.max().item())
        if not (difference <= TOLERANCE * ours.abs().clamp_min(1)).all():
            raise RuntimeError(f"onnxruntime's logits differ by {largest:.2g}; nothing was written")
    return largest
