"""Opens a page in headless Chromium, with a script that leaves what it sees in the title."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def seen_in_a_browser(page: str, probe: str, folder: Path, *flags: str, dark: bool = False) -> Any:
    """What the probe found on a page; fails where the page writes to the console."""
    path = folder / "probed.html"
    path.write_text(page.replace("<body>", f"<body>{probe}"), "utf-8")
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", f"--user-data-dir={folder}/profile", "--enable-logging=stderr",
         *scheme, *flags, "--dump-dom", f"file://{path}"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    (title,) = re.findall(r"<title>(.*?)</title>", done.stdout, re.S)
    return json.loads(html.unescape(title))
