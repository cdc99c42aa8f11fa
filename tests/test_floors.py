"""Imports go down only: a room never imports one above it, nor one on its own floor."""

import ast
from pathlib import Path

import minigpt

ROOT = Path(minigpt.__file__).parent

# From the ground up. Rooms on one floor do not know each other.
FLOORS = (
    ("text", "model", "statistics"),
    ("tokens",),
    ("batches", "runs"),
    ("interop",),
    ("training",),
    ("evaluation",),
    ("reports",),
    ("reproductions",),  # they plug into reports, which do not know them
    ("commands",),
)
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
# Open to every room, and import none of them.
BASEMENT = {"errors", "config", "error_lines", "json_text", "command_lines", "atomic_file",
            "lean_imports", "ordinary_file", "shown_text", "signals", "version"}  # fmt: skip


def imports(path: Path) -> list[str]:
    """Every module of minigpt that a file imports."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            if node.module == "minigpt":
                found += [f"minigpt.{alias.name}" for alias in node.names]
            elif (node.module or "").startswith("minigpt."):
                found.append(str(node.module))
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith("minigpt")]
    return found


def test_every_folder_has_a_floor():
    folders = {path.parent.name for path in ROOT.glob("*/*.py")}
    assert folders <= FLOOR.keys()


def test_imports_go_down_only():
    seen = 0
    for path in sorted(ROOT.rglob("*.py")):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for module in imports(path):
            other = module.split(".")[1]
            if other in BASEMENT or other == room or other == "__version__":
                continue
            seen += 1
            assert room in FLOOR, f"{path} imports {module}"
            assert FLOOR[other] < FLOOR[room], f"{path} imports {module}"
    assert seen > 50


def test_the_model_knows_only_itself():
    for path in (ROOT / "model").glob("*.py"):
        rooms = {module.split(".")[1] for module in imports(path)}
        assert rooms <= {"model", *BASEMENT}, path


def test_init_files_stay_nearly_empty():
    for path in ROOT.rglob("__init__.py"):
        assert len(path.read_text("utf-8").splitlines()) <= 3, path
