"""Who may import whom. The table is the architecture; this file makes it true.

A room is one file or folder right under seqloom/. Every import counts: at the top of a file, inside
a function, under `if TYPE_CHECKING`, relative, or by `importlib.import_module("...")`.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "seqloom"

FOUNDATION = {"errors", "files", "config", "machine", "writing"}
BELOW_TASKS = {"data", "metrics", "layers", "models", "decoding"}
BELOW_PIPELINE = BELOW_TASKS | {"tasks", "export", "memory"}

# The names on the right of a room are all that it may import of seqloom, beside itself.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "files": {"errors"},
    "machine": set(),
    "writing": set(),
    "config": {"errors", "files"},
    # Three that know nothing of one another.
    "data": FOUNDATION,
    "metrics": FOUNDATION,
    "layers": FOUNDATION,
    "models": FOUNDATION | {"layers"},
    # Search is handed a step function; it knows no model.
    "decoding": FOUNDATION,
    # Where data, models, metrics and search meet; layers are the models' own affair.
    "tasks": FOUNDATION | {"data", "metrics", "models", "decoding"},
    # Drives any task by the contract in tasks/task.py; batches and scores come through it.
    "training": FOUNDATION | {"tasks"},
    "export": FOUNDATION | {"data", "models", "decoding", "tasks"},
    "memory": FOUNDATION | {"models", "tasks"},
    "pipeline": FOUNDATION | BELOW_PIPELINE,
    # Experiments, which may look at any part by itself.
    "lab": FOUNDATION | BELOW_PIPELINE | {"training", "pipeline"},
    "look": FOUNDATION | BELOW_PIPELINE | {"pipeline"},
    "server": FOUNDATION | BELOW_PIPELINE | {"pipeline", "look"},
    # seqloom/__init__.py: load(), train(), translate().
    PACKAGE: FOUNDATION | {"tasks", "training", "pipeline"},
    "cli": FOUNDATION | BELOW_PIPELINE | {"training", "pipeline", "lab", "look", "server", PACKAGE},
    "__main__": {"cli"},
}

NO_HOME = {"util", "utils", "helper", "helpers", "misc", "common"}
SEARCHED_FOR_NAMES = (PACKAGE, "benchmarks", "demo", "scripts", "tests")

HEAVY = ("torch", "numpy", "sentencepiece", "sacrebleu", "tensorboard")


@dataclass(frozen=True)
class Import:
    """`importer` imports `target`, both as dotted module names, on `where` (file:line)."""

    importer: str
    target: str
    where: str


def room_of(module: str) -> str:
    """The room that a module is in: `seqloom.data.readers` is in `data`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def modules(package: Path) -> dict[str, Path]:
    """Every module of a package by its dotted name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported_names(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[str, str, int]]:
    """(module named, name taken from it or "", line) of every import in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, "", node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, base] if base else parts)
            for alias in node.names:
                yield base, alias.name, node.lineno
        elif isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func).rpartition(".")[2]
            named = node.args[0]
            if called in ("import_module", "__import__") and isinstance(named, ast.Constant):
                yield str(named.value), "", node.lineno


def imports(package: Path) -> list[Import]:
    """Every import under a package of a module of the same package."""
    known = modules(package)
    found = []
    for module, path in known.items():
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        for base, name, line in imported_names(tree, module, path.name == "__init__.py"):
            if base.split(".")[0] != package.name:
                continue
            # `from seqloom import data` names a module, `from seqloom import load` does not.
            target = f"{base}.{name}" if f"{base}.{name}" in known else base
            found.append(Import(module, target, f"{path.relative_to(package.parent)}:{line}"))
    return found


def violations(package: Path) -> list[str]:
    """What breaks MAY_IMPORT under a package, one sentence each."""
    problems = []
    for module, path in modules(package).items():
        if room_of(module) not in MAY_IMPORT:
            problems.append(f"{path.relative_to(package.parent)}: in no room of MAY_IMPORT")
    for found in imports(package):
        room, target = room_of(found.importer), room_of(found.target)
        allowed = MAY_IMPORT.get(room)
        if allowed is not None and target != room and target not in allowed:
            may = ", ".join(sorted(allowed)) or "nothing"
            problems.append(f"{found.where}: {room} may not import {found.target}; it may import {may}")
    return problems


def circle(edges: list[tuple[str, str]]) -> list[str]:
    """One circle in a graph, or nothing."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for importer, target in edges:
        if importer != target:
            sorter.add(importer, target)
    try:
        sorter.prepare()
    except CycleError as error:
        return error.args[1]
    return []


def module_circle(package: Path) -> list[str]:
    return circle([(found.importer, found.target) for found in imports(package)])


def room_circle(package: Path) -> list[str]:
    return circle([(room_of(f.importer), room_of(f.target)) for f in imports(package)])


def homeless(root: Path) -> list[str]:
    """The files and folders with a name that says nothing of what is in them."""
    return [
        str(path.relative_to(root))
        for folder in SEARCHED_FOR_NAMES
        for path in sorted((root / folder).rglob("*"))
        if path.stem in NO_HOME and (path.is_dir() or path.suffix == ".py")
    ]


# --- the project itself ---


def test_rooms_import_only_what_the_table_allows():
    assert violations(ROOT / PACKAGE) == []


def test_imports_make_no_circle():
    assert room_circle(ROOT / PACKAGE) == []
    assert module_circle(ROOT / PACKAGE) == []


def test_the_table_makes_no_circle_and_names_only_rooms():
    assert circle([(room, name) for room, names in MAY_IMPORT.items() for name in names]) == []
    assert set().union(*MAY_IMPORT.values()) <= set(MAY_IMPORT)


def test_every_file_has_a_home():
    assert homeless(ROOT) == []


@pytest.mark.parametrize(
    ("imported", "left_out"),
    [
        ("seqloom.errors", (*HEAVY, "pydantic")),
        ("seqloom.cli", (*HEAVY, "pydantic")),
        ("seqloom.config", HEAVY),
        # A translation by CTranslate2 needs no torch, which takes a second and 200 MB to load.
        ("seqloom.pipeline.translator", ("torch", "sacrebleu", "tensorboard")),
        ("seqloom.export.ctranslate2_engine", ("torch",)),
    ],
)
def test_the_way_in_is_light(imported, left_out):
    code = f"import sys, {imported}; print(*sorted(set({left_out!r}) & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    loaded = ran.stdout.split()
    assert not loaded, f"import {imported} loads {', '.join(loaded)}"


# --- the checker: a broken rule must be seen ---


@pytest.fixture
def plant(tmp_path):
    """Write files into an empty seqloom package; the folder of the package comes back."""

    def write(files: dict[str, str]) -> Path:
        for name, text in {"__init__.py": "", **files}.items():
            path = tmp_path / PACKAGE / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path / PACKAGE

    return write


@pytest.mark.parametrize(
    ("text", "line", "target"),
    [
        ("import os\nimport seqloom.data.readers\n", 2, "seqloom.data.readers"),
        ("import seqloom.data as d\n", 1, "seqloom.data"),
        ("from seqloom.data import readers\n", 1, "seqloom.data.readers"),
        ("from seqloom.data.readers import read\n", 1, "seqloom.data.readers"),
        ("from seqloom import errors, data\n", 1, "seqloom.data"),
        ("from ..data import readers\n", 1, "seqloom.data.readers"),
        ("from ..data.readers import read\n", 1, "seqloom.data.readers"),
        ("from .. import data\n", 1, "seqloom.data"),
        ("def f():\n    from seqloom.data import readers\n", 2, "seqloom.data.readers"),
        ("class A:\n    def f(self):\n        from .. import data\n", 3, "seqloom.data"),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import seqloom.data\n",
            3,
            "seqloom.data",
        ),
        ("import importlib\nimportlib.import_module('seqloom.data')\n", 2, "seqloom.data"),
        ("from seqloom import load\n", 1, "seqloom"),
        ("import seqloom\n", 1, "seqloom"),
    ],
)
def test_a_forbidden_import_is_named(plant, text, line, target):
    package = plant(
        {
            "errors.py": "",
            "data/__init__.py": "",
            "data/readers.py": "def read(): ...\n",
            "layers/__init__.py": "",
            "layers/attention.py": text,
        }
    )
    assert violations(package) == [
        f"{Path('seqloom/layers/attention.py')}:{line}: layers may not import {target}; "
        "it may import config, errors, files, machine, writing"
    ]


def test_a_relative_import_in_a_package_is_resolved_from_the_package(plant):
    package = plant(
        {
            "data/__init__.py": "from . import readers\nfrom ..layers import x\n",
            "data/readers.py": "from .formats.tsv import rows\n",
            "data/formats/__init__.py": "",
            "data/formats/tsv.py": "from ...layers import x\nfrom .. import readers\n",
            "layers/__init__.py": "x = 1\n",
        }
    )
    assert [problem.split(": layers")[0].split(";")[0] for problem in violations(package)] == [
        f"{Path('seqloom/data/__init__.py')}:2: data may not import seqloom.layers",
        f"{Path('seqloom/data/formats/tsv.py')}:1: data may not import seqloom.layers",
    ]


def test_allowed_imports_pass(plant):
    package = plant(
        {
            "__init__.py": "from seqloom.pipeline import load\n",
            "errors.py": "",
            "config.py": "from seqloom.errors import E\n",
            "layers/__init__.py": "from seqloom.layers.masks import causal\nimport torch\n",
            "layers/masks.py": "causal = 1\n",
            "models/__init__.py": "from ..layers import causal\nfrom seqloom import config\n",
            "pipeline/__init__.py": "import seqloom.models\nload = 1\n",
            "cli/__init__.py": "def main():\n    from seqloom import __version__, pipeline\n",
            "__main__.py": "from seqloom.cli import main\n",
        }
    )
    assert violations(package) == []
    assert module_circle(package) == []
    assert room_circle(package) == []


def test_a_file_outside_of_every_room_is_named(plant):
    package = plant({"shelf.py": "", "attic/__init__.py": ""})
    assert violations(package) == [
        f"{Path('seqloom/attic/__init__.py')}: in no room of MAY_IMPORT",
        f"{Path('seqloom/shelf.py')}: in no room of MAY_IMPORT",
    ]


def test_a_circle_of_files_is_found_even_if_lazy(plant):
    package = plant(
        {
            "data/__init__.py": "",
            "data/a.py": "from seqloom.data import b\n",
            "data/b.py": "def f():\n    from seqloom.data.a import x\n",
        }
    )
    assert set(module_circle(package)) == {"seqloom.data.a", "seqloom.data.b"}
    assert room_circle(package) == []


def test_a_circle_of_rooms_is_found_where_no_files_make_one(plant):
    package = plant(
        {
            "data/a.py": "import seqloom.metrics.c\n",
            "data/b.py": "",
            "metrics/c.py": "",
            "metrics/d.py": "import seqloom.data.b\n",
        }
    )
    assert module_circle(package) == []
    assert set(room_circle(package)) == {"data", "metrics"}


def test_a_file_named_utils_is_found(plant):
    package = plant({"data/utils.py": "", "layers/helpers/__init__.py": "", "layers/common.py": ""})
    assert homeless(package.parent) == [
        str(Path("seqloom/data/utils.py")),
        str(Path("seqloom/layers/common.py")),
        str(Path("seqloom/layers/helpers")),
    ]
