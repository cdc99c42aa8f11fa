"""The machine's processor and speed, and measurements in a separate process."""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent

# Results are kept for each kind of processor, in this order.
WITH_BFLOAT16, WITHOUT_BFLOAT16 = "with bfloat16 instructions", "without bfloat16 instructions"
HELD = "held to AVX2"
KINDS = (WITH_BFLOAT16, WITHOUT_BFLOAT16, HELD)

# The instructions that decide how fast a matrix product is, as Linux names them.
BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")  # the last is Arm's
INSTRUCTIONS = ("avx2", "avx512f", "asimd", "sve", *BFLOAT16_INSTRUCTIONS)

# What makes torch, oneDNN, MKL and torch.compile do without AVX-512; read when they are loaded.
AVX2_ENVIRONMENT = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "TORCHINDUCTOR_CPP_MARCH": "x86-64-v3",
}

# Shapes (n, k, m) of products: a large square, and a chunk of the head at widths 128 and 256, over
# GPT-2's vocabulary and over one padded to 64. Unaligned rows make a product slower.
HEAD_SHAPES = [
    shape
    for width in (128, 256)
    for words in (50_257, 50_304)
    for shape in ((512, width, words), (512, words, width), (width, 512, words))
]


def processor() -> str:
    """The CPU's model name."""
    return _cpu_info("model name") or platform.processor() or platform.machine()


def _cpu_info(*names: str) -> str:
    """The first value of some names in Linux's list of processors; "" elsewhere."""
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() in names:
            return value.strip()
    return ""


def instructions() -> list[str]:
    """The INSTRUCTIONS that this process may use."""
    import torch

    known = _cpu_info("flags", "Features").split()
    if not known:  # not Linux: torch knows less
        known = [torch.backends.cpu.get_cpu_capability().lower().replace("512", "512f")]
        known += ["avx512_bf16"] * torch.cpu._is_avx512_bf16_supported()
    names = [name for name in INSTRUCTIONS if name in known]
    return ["avx2"] if is_held() else names


def kind() -> str:
    """Under which of the KINDS this process's results are kept."""
    if is_held():
        return HELD
    has = any(name in instructions() for name in BFLOAT16_INSTRUCTIONS)
    return WITH_BFLOAT16 if has else WITHOUT_BFLOAT16


def is_held() -> bool:
    return all(os.environ.get(key) == value for key, value in AVX2_ENVIRONMENT.items())


def hold_to_avx2() -> None:
    """Keep this process and its children from AVX-512; call it before torch is imported.

    Exits where that makes no difference, or where torch or oneDNN does not obey.
    """
    assert "torch" not in sys.modules
    flags = _cpu_info("flags").split()
    if "avx512f" not in flags:
        sys.exit("--avx2 needs a processor with AVX-512; leave it out on this one")
    os.environ.update(AVX2_ENVIRONMENT)
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    if capability != "AVX2" or torch.ops.mkldnn._is_mkldnn_bf16_supported():
        sys.exit(f"torch {torch.__version__} does not obey {AVX2_ENVIRONMENT}")


def machine_description() -> str:
    """GPU if there is one, threads, CPU and versions, to be read as part of a sentence."""
    import torch

    gpu = f"one {torch.cuda.get_device_name()} and " if torch.cuda.is_available() else ""
    return (
        f"{gpu}{torch.get_num_threads()} threads of {processor()}, torch "
        f"{torch.__version__.partition('+')[0]}, Python {platform.python_version()}"
    )


def run_script(script: str, *arguments: str, folder: str) -> dict[str, Any]:
    """Run a script in a new process; return the result that it passes to print_result."""
    command = [sys.executable, script, *arguments]
    process = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if process.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{process.stderr}")
    return dict(json.loads(process.stdout.splitlines()[-1]))


def print_result(result: dict[str, Any]) -> None:
    """Print a result, with this process's peak memory in bytes as `peak`, for run_script."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if platform.system() == "Darwin" else 1024  # bytes on macOS, KiB on Linux
    print(json.dumps({**result, "peak": peak * unit}))


def product_rate(precision: str = "bfloat16", seconds: float = 1.0) -> float:
    """Floating-point operations per second of the fastest matrix product measured.

    Tries a large square product and those of a chunk of the head; no training step can be faster.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = getattr(torch, precision)
    large = 8192 if device == "cuda" else 1024
    shapes = [(large, large, large), *HEAD_SHAPES]
    numbers = torch.randn(max(k * max(n, m) for n, k, m in shapes), device=device).to(dtype)
    begin, best = time.perf_counter(), 0.0
    for n, k, m in shapes:
        a = numbers[: n * k].view(n, k)
        b = numbers[: m * k].view(m, k).T  # as a linear layer stores its weight
        out = torch.empty(n, m, device=device, dtype=dtype)
        total, fastest = 0.0, float("inf")
        while total < seconds / len(shapes):
            start = time.perf_counter()
            torch.mm(a, b, out=out)
            if device == "cuda":
                torch.cuda.synchronize()
            fastest = min(fastest, time.perf_counter() - start)
            total += time.perf_counter() - start
        best = max(best, 2 * n * k * m / fastest)
        if time.perf_counter() - begin > 10 * seconds:
            break  # without instructions for it, one bfloat16 product takes seconds
    return best
