"""The licence check refuses what it must, and reads metadata as packages really write it."""

from email.message import Message

import pytest
from packaging.requirements import Requirement

from scripts.licences import (
    GPU_RUNTIME,
    closure,
    imported_libraries,
    is_permissive,
    licence_of,
    undeclared,
)


def metadata(fields):
    """Package metadata with these fields, in this order."""
    message = Message()
    for name, value in fields:
        message[name] = value
    return message


@pytest.mark.parametrize(
    "expression",
    [
        "MIT",
        "Apache-2.0 OR BSD-2-Clause",
        "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0",
        "Apache-2.0 WITH LLVM-exception AND MIT",
        "GPL-3.0-only OR MIT",
        "(GPL-2.0-only OR MIT) AND ISC",
        "MPL-2.0 AND (MIT OR (GPL-2.0-only AND ISC))",
    ],
)
def test_permissive_expressions(expression):
    assert is_permissive(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "GPL-3.0-or-later",
        "LGPL-2.1-only",
        "AGPL-3.0-only",
        "MIT AND GPL-2.0-only",
        "MIT AND (ISC AND LGPL-3.0-only)",
        "GPL-3.0-only WITH GCC-exception-3.1",
        "Apache-2.0 WITH Some-exception",
        "MIT OR",
        "MIT, or ask us",
        "LicenseRef-Proprietary",
        "Free for non-commercial use",
    ],
)
def test_other_expressions(expression):
    assert not is_permissive(expression)


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ([("License-Expression", "MIT"), ("License", "GPL")], "MIT"),
        ([("Classifier", "License :: OSI Approved :: BSD License")], "BSD-3-Clause"),
        (
            [
                ("Classifier", "License :: OSI Approved"),
                ("Classifier", "License :: OSI Approved :: MIT License"),
                ("Classifier", "Topic :: Text Processing"),
            ],
            "MIT",
        ),
        ([("License", "Apache License, Version 2.0")], "Apache-2.0"),
        ([("License", "MIT License\n\nCopyright (c) ...")], "MIT"),
        ([("License", "")], ""),
        ([], ""),
    ],
)
def test_licence_is_read_from_metadata(fields, licence):
    assert licence_of(metadata(fields)) == licence


@pytest.mark.parametrize(
    "fields",
    [
        [("Classifier", "License :: OSI Approved :: GNU General Public License v3 (GPLv3)")],
        [
            ("Classifier", "License :: OSI Approved :: MIT License"),
            ("Classifier", "License :: OSI Approved :: GNU Affero General Public License v3"),
        ],
        [("License", "UNKNOWN")],
    ],
)
def test_copyleft_and_unknown_metadata_is_refused(fields):
    assert not is_permissive(licence_of(metadata(fields)))


def test_closure_follows_requirements_and_markers():
    groups = {
        "base": [Requirement("pytest"), Requirement("never-here; sys_platform == 'nowhere'")],
        "look": [Requirement("an-extra-that-nobody-installed")],
        "dev": [Requirement("a-tool-that-nobody-installed")],
    }
    found, missing = closure(groups)
    assert {"pytest", "pluggy", "iniconfig"} <= set(found)
    assert missing == ["a-tool-that-nobody-installed: not installed, though dev needs it"]


def test_an_undeclared_import_is_named(tmp_path):
    package = tmp_path / "seqloom"
    package.mkdir()
    (package / "a.py").write_text(
        "import os, numpy.linalg\nfrom . import b\nfrom seqloom import c\n"
        "def f():\n    import faiss, prometheus_client\n    from gpl_thing.x import y\n"
    )
    libraries = {library for library, _ in imported_libraries(package)}
    assert libraries == {"numpy", "faiss", "prometheus_client", "gpl_thing"}
    groups = {
        "base": [Requirement("numpy>=1")],
        "memory": [Requirement("faiss-cpu"), Requirement("prometheus-client")],
        "dev": [Requirement("gpl-thing")],
    }
    assert undeclared(package, groups) == ["seqloom/a.py:6: imports gpl_thing, which pyproject.toml does not declare"]


def test_only_the_gpu_build_has_a_pass():
    assert GPU_RUNTIME.fullmatch("nvidia-cublas")
    assert GPU_RUNTIME.fullmatch("cuda-toolkit")
    assert not GPU_RUNTIME.fullmatch("cudagpl")
    assert not GPU_RUNTIME.fullmatch("not-nvidia-cublas")
