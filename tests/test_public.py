"""The public face: what `import seqloom` gives, and what it costs."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import seqloom

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")


def test_all_is_what_is_documented():
    documented = re.findall(r"^#+ `seqloom\.(\w+)\(", PAGE, re.MULTILINE)
    assert sorted(documented) == sorted(seqloom.__all__)


def test_nothing_else_looks_public():
    tree = ast.parse((ROOT / "seqloom" / "__init__.py").read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert {name for name in defined if not name.startswith("_")} == set(seqloom.__all__)


@pytest.mark.parametrize("name", seqloom.__all__)
def test_each_has_a_docstring_and_the_documented_arguments(name):
    function = getattr(seqloom, name)
    assert inspect.getdoc(function)
    heading = re.search(rf"^#+ `(seqloom\.{name}\(.*\))`$", PAGE, re.MULTILINE)
    assert heading
    call = ast.parse(heading[1], mode="eval").body
    assert isinstance(call, ast.Call)
    given = [ast.unparse(argument) for argument in call.args] + [keyword.arg for keyword in call.keywords]
    # `**settings` has no name in a call.
    expected = [
        None if parameter.kind is parameter.VAR_KEYWORD else parameter.name
        for parameter in inspect.signature(function).parameters.values()
    ]
    assert given == expected


def test_the_documented_defaults_are_the_real_ones():
    for name in seqloom.__all__:
        heading = re.search(rf"^#+ `(seqloom\.{name}\(.*\))`$", PAGE, re.MULTILINE)
        assert heading
        call = ast.parse(heading[1], mode="eval").body
        assert isinstance(call, ast.Call)
        documented = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
        parameters = inspect.signature(getattr(seqloom, name)).parameters
        assert documented == {
            key: value.default for key, value in parameters.items() if value.default is not inspect.Parameter.empty
        }


def test_the_import_is_light():
    """Neither torch nor anything else that is not of Python or of Seqloom."""
    code = (
        "import sys; before = set(sys.modules); import seqloom;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(*sorted(new - set(sys.stdlib_module_names) - {'seqloom'}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


def test_the_types_are_shipped():
    assert (ROOT / "seqloom" / "py.typed").is_file()
