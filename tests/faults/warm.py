"""A process that has imported everything, and runs each command in a fork of itself.

An import takes seconds, a fork milliseconds. Orders and answers are JSON lines.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import resource
import signal
import sys
import traceback
import warnings
from pathlib import Path

from tests.faults.shim import shim

IMPORTED = (
    "matplotlib.pyplot", "minigpt.commands.compare", "minigpt.commands.export",
    "minigpt.commands.main", "minigpt.commands.one_run", "minigpt.commands.prepare",
    "minigpt.commands.sweep_job", "minigpt.commands.tokenizer", "minigpt.commands.train",
    "minigpt.evaluation.end_of_run", "minigpt.reports.comparison", "minigpt.reports.run_report",
    "minigpt.reproductions.all_reports", "minigpt.training.build",
    "minigpt.training.callbacks.run_summary", "pyarrow.parquet", "tests.faults.writers",
)  # fmt: skip


def run(words):
    """Runs what a user types, or a function of this package; returns the exit code."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    HydraConfig.instance().cfg = None  # as in a process of its own
    GlobalHydra.instance().clear()
    program, *arguments = words
    try:
        if program == "train.py":
            sys.argv = words
            importlib.import_module("minigpt.commands.train").main()
        elif program == "minigpt":
            importlib.import_module("minigpt.commands.main").main(arguments)
        else:
            from minigpt.error_lines import one_line_errors

            with one_line_errors():
                getattr(importlib.import_module("tests.faults.writers"), program)(*arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def redirected(order):
    """Sends output to files."""
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)


def in_fork(order, armed):
    """Runs an order in a fork; returns its code (negative for a signal), or None for a hang."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        os.setsid()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        atexit._clear()  # what was imported has nothing to say at the end
        limit(order["limits"])
        armed.arm(*order["fault"])
        code = run(order["words"])
        with contextlib.suppress(Exception):
            atexit._run_exitfuncs()
        gc.collect()  # says what goes wrong when a file that was left open is closed
        trace, hits = armed.trace, armed.hits
        armed.arm("", None, 0, 0, 0)
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
            if not order["limits"]:
                Path(order["report"]).write_text(json.dumps([hits, trace]))
        os._exit(code)
    signal.setitimer(signal.ITIMER_REAL, order["seconds"])
    try:
        _, status = os.waitpid(child, 0)
    except TimeoutError:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return os.waitstatus_to_exitcode(status)


def limit(resources):
    """Limits this process; the memory is what it may ask for beyond what it has."""
    for name, value in resources.items():
        if name == "RLIMIT_AS":
            value += int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(getattr(resource, name), (value, value))


def too_long(*_):
    raise TimeoutError


def faster():
    """Leave out what costs a fork most and writes nothing."""
    import minigpt.tokens.writer
    from minigpt.commands import prepare

    minigpt.tokens.writer.PART_TOKENS = 1500  # a few parts of a text that is quickly read
    compose, composed = prepare.compose_config, {}

    def remembered(words):
        if tuple(words) not in composed:
            composed[tuple(words)] = compose(words)
        return composed[tuple(words)]

    prepare.compose_config = remembered
    gc.get_freeze_count = lambda: 1  # it walks through all objects
    gc.collect()
    gc.freeze()  # a collection in a fork need not walk what was imported


def main():
    """Answers orders until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.environ.pop("LD_PRELOAD", None)  # git and the like need no faults
    armed = shim(sys.argv[1] or None)
    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork")
    for name in IMPORTED:
        importlib.import_module(name)
    signal.signal(signal.SIGALRM, too_long)
    faster()
    print(json.dumps({"calls": armed.calls}), file=answers, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        os.chdir(order["folder"])
        redirected(order)
        report = Path(order["report"])
        report.unlink(missing_ok=True)
        if order["forked"]:
            code = in_fork(order, armed)
        else:
            armed.arm(*order["fault"])
            code = run(order["words"])
            sys.stdout.flush()
            sys.stderr.flush()
            report.write_text(json.dumps([armed.hits, armed.trace]))
            armed.arm("", None, 0, 0, 0)
        os.chdir("/")  # so that a file system at the folder can be unmounted
        print(json.dumps({"code": code}), file=answers, flush=True)


if __name__ == "__main__":
    main()
