"""The machine's name and speed, and measurements in a separate process."""

import json
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent


def processor() -> str:
    """The CPU's model name."""
    if platform.system() == "Linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine_description() -> str:
    """Threads, CPU and versions, to be read as part of a sentence."""
    import torch

    return (
        f"{torch.get_num_threads()} threads of {processor()}, torch "
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


def product_rate(seconds: float = 1.0) -> float:
    """Floating-point operations per second of the fastest bfloat16 matrix product measured.

    Tries a large square product and those of a chunk of the head; no training step can be faster.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    large = 8192 if device == "cuda" else 1024
    shapes = [(large, large, large), (512, 128, 50257), (512, 50257, 128), (128, 512, 50257),
              (512, 256, 50257), (512, 50257, 256), (256, 512, 50257)]  # fmt: skip
    best = 0.0
    for n, k, m in shapes:
        a = torch.randn(n, k, device=device, dtype=torch.bfloat16)
        b = torch.randn(k, m, device=device, dtype=torch.bfloat16)
        out = torch.empty(n, m, device=device, dtype=torch.bfloat16)
        total, fastest = 0.0, float("inf")
        while total < seconds / len(shapes):
            start = time.perf_counter()
            torch.mm(a, b, out=out)
            if device == "cuda":
                torch.cuda.synchronize()
            fastest = min(fastest, time.perf_counter() - start)
            total += time.perf_counter() - start
        best = max(best, 2 * n * k * m / fastest)
    return best
