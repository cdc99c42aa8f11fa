"""The memory of the process: what becomes of what a step frees, and the most there was."""

import contextlib
import ctypes
import gc
import platform
import resource
from pathlib import Path

import torch

GLIBC = platform.libc_ver()[0] == "glibc"

_kept = False  # the allocator is the process's


def keep_freed_memory(keep: bool) -> None:
    """Tells glibc's allocator to keep what is freed, or not to; other systems are left alone.

    A training step frees and takes the same large buffers over and over. By default each is
    mapped anew and zeroed page by page, which costs a third of a small model's step.
    """
    global _kept
    if not GLIBC or keep == _kept:  # to set glibc's own values would end its adapting of them
        return
    _kept = keep
    M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0 if keep else 65_536)  # glibc's own values
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1 if keep else 128 * 1024)


def peak_memory(device: torch.device) -> int:
    """Bytes: of the GPU's allocator there, of this whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if (status := Path("/proc/self/status")).exists():
        (line,) = [row for row in status.read_text().splitlines() if row.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def reset_peak_memory() -> None:
    """Starts the peak again, so that a sweep's job does not count those before it."""
    gc.collect()
    if GLIBC:
        ctypes.CDLL(None).malloc_trim(0)  # what an earlier run of the process left
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):  # where the system has no such thing
        Path("/proc/self/clear_refs").write_text("5")
