"""What the benchmarks share: the machine's name and its speed, and measuring in a process apart."""

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
    for line in (
        Path("/proc/cpuinfo").read_text().splitlines() if platform.system() == "Linux" else []
    ):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def described() -> str:
    """One sentence's worth: threads, processor, versions."""
    import torch

    return (
        f"{torch.get_num_threads()} threads of {processor()}, torch "
        f"{torch.__version__.partition('+')[0]}, Python {platform.python_version()}"
    )


def in_process(script: str, *arguments: str, folder: str) -> dict[str, Any]:
    """What a script prints last, as JSON, with the peak memory of its process in bytes."""
    command = [sys.executable, script, *arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if found.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{found.stderr}")
    return dict(json.loads(found.stdout.splitlines()[-1]))


def report(result: dict[str, Any]) -> None:
    """The last line of such a script."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result["peak"] = peak * (1 if platform.system() == "Darwin" else 1024)
    print(json.dumps(result))


def product_rate(seconds: float = 1.0) -> float:
    """Floating-point operations a second of the best bfloat16 matrix product measured.

    Square ones, and the three of a chunk of the head: the most that a training step could reach.
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
        spent, least = 0.0, float("inf")
        while spent < seconds / len(shapes):
            start = time.perf_counter()
            torch.mm(a, b, out=out)
            if device == "cuda":
                torch.cuda.synchronize()
            least = min(least, time.perf_counter() - start)
            spent += time.perf_counter() - start
        best = max(best, 2 * n * k * m / least)
    return best
