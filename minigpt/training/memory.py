"""Process memory: allocator tuning and peak usage."""

import contextlib
import ctypes
import gc
import os
import platform
import resource
from pathlib import Path

import torch

from minigpt.errors import UserError

GLIBC = platform.libc_ver()[0] == "glibc"

_keeps_freed_memory = False  # the allocator is shared by the whole process


def keep_freed_memory(keep: bool) -> None:
    """Tell glibc's allocator whether to keep freed memory; do nothing on other systems.

    A training step frees and allocates the same large buffers again and again. By default the
    kernel maps each anew and zeroes it page by page, a third of a small model's step.
    """
    global _keeps_freed_memory
    # Even setting glibc's default values would stop it from adapting them.
    if not GLIBC or keep == _keeps_freed_memory:
        return
    _keeps_freed_memory = keep
    M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0 if keep else 65_536)  # glibc's defaults
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1 if keep else 128 * 1024)


def physical_memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_weights_fit(parameters: int) -> None:
    """Raises UserError for weights that are larger than this machine's memory, in float32."""
    memory = physical_memory()
    if 4 * parameters > memory:
        raise UserError(
            f"the network has {parameters:,} parameters, {4 * parameters / 2**30:,.0f} GiB of "
            f"weights alone, and this machine has {memory / 2**30:,.0f} GiB; lower model.n_embd, "
            "model.n_layer or model.vocab_size"
        )


def peak_memory(device: torch.device) -> int:
    """Peak bytes: of the allocator on a GPU, of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if (status := Path("/proc/self/status")).exists():
        (line,) = [row for row in status.read_text().splitlines() if row.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def reset_peak_memory() -> None:
    """Start a new peak, so that a sweep's job does not count the jobs before it."""
    gc.collect()
    if GLIBC:
        ctypes.CDLL(None).malloc_trim(0)  # give back what an earlier job left
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):  # only Linux can reset the peak
        Path("/proc/self/clear_refs").write_text("5")
