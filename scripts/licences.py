"""Refuse what Seqloom may not stand on: packages under a copyleft or an unknown licence.

    .venv/bin/python scripts/licences.py [--verbose]

Seqloom is Apache-2.0 and stays usable by everyone, so each package that it needs must be
permissively licensed. Starting from pyproject.toml (base, extras, development, build) the check
follows every requirement that holds on this machine and reads each package's own metadata. It also
reads the imports under seqloom/: a library that is imported must be one that pyproject.toml
declares, or its licence would never be looked at.
"""

import argparse
import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageMetadata, PackageNotFoundError
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent

# SPDX identifiers. MPL-2.0 is here because its copyleft covers its own files only: a package used
# unchanged, as a dependency, asks nothing of Seqloom's source or of its users. The LGPL asks more
# (its users must be able to replace it), the GPL and AGPL everything; they are not here.
PERMISSIVE = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CNRI-Python",
    "HPND",
    "ISC",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "MPL-2.0",
    "PSF-2.0",
    "Python-2.0",
    "Unlicense",
    "Zlib",
}

# What older metadata says instead of an SPDX identifier: classifiers and the free-text field.
SAME_AS = {
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "historical permission notice and disclaimer (hpnd)": "HPND",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "psf": "PSF-2.0",
    "psf license": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
    "zlib/libpng license": "Zlib",
}

# Packages whose metadata does not answer, each with the licence and where it was read.
EXCEPTIONS: dict[str, tuple[str, str]] = {}

# The GPU build of PyTorch brings NVIDIA's runtime libraries. They are proprietary, free to use and
# to redistribute, are never part of what Seqloom ships, and nothing imports them but PyTorch; the
# CPU build does without.
GPU_RUNTIME = re.compile(r"nvidia-.*|cuda-(toolkit|bindings|pathfinder)")


def is_permissive(expression: str) -> bool:
    """Whether an SPDX expression can be satisfied by permissive licences alone."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression)
    place = 0

    def either() -> bool:
        nonlocal place
        answer = both()
        while place < len(tokens) and tokens[place].upper() == "OR":
            place += 1
            answer = both() or answer
        return answer

    def both() -> bool:
        nonlocal place
        answer = one()
        while place < len(tokens) and tokens[place].upper() == "AND":
            place += 1
            answer = one() and answer
        return answer

    def one() -> bool:
        nonlocal place
        place += 1  # past the end it goes too, where an operand is missing
        if place > len(tokens):
            return False
        token = tokens[place - 1]
        if token == "(":
            answer = either()
            place += 1  # the closing bracket
            return answer
        if place + 1 < len(tokens) and tokens[place].upper() == "WITH":
            token = f"{token} WITH {tokens[place + 1]}"
            place += 2
        return token in PERMISSIVE

    answer = either()
    return answer and place == len(tokens)


def licence_of(metadata: PackageMetadata) -> str:
    """The licence that a package states, as an SPDX expression where it can be read as one."""
    for expression in metadata.get_all("License-Expression") or []:
        return expression
    stated = [
        classifier.rpartition(" :: ")[2]
        for classifier in metadata.get_all("Classifier") or []
        if classifier.startswith("License ::") and not classifier.endswith("OSI Approved")
    ]
    if not stated:
        # Some put the whole text into this field: its first line names the licence, or nothing.
        texts = [text.strip() for text in metadata.get_all("License") or []]
        stated = [text.splitlines()[0].strip() for text in texts if text]
    return " AND ".join(SAME_AS.get(name.lower(), name) for name in stated)


def declared(pyproject: dict) -> dict[str, list[Requirement]]:
    """The requirements of pyproject.toml by the group that names them."""
    project = pyproject["project"]
    groups = {"base": project["dependencies"], **project["optional-dependencies"]}
    groups["build"] = pyproject["build-system"]["requires"]
    return {
        group: [
            requirement
            for requirement in map(Requirement, lines)
            if canonicalize_name(requirement.name) != project["name"]
        ]
        for group, lines in groups.items()
    }


def closure(groups: dict[str, list[Requirement]]) -> tuple[dict[str, Distribution], list[str]]:
    """Every installed package that the groups lead to, and what is missing though it is needed.

    A user's extra that is not installed is passed over: nothing here can use it, and the check
    sees it where it is installed.
    """
    found: dict[str, Distribution] = {}
    missing: list[str] = []
    seen: set[tuple[str, str]] = set()
    waiting = [
        (requirement, "", group, group in ("base", "dev", "build"))
        for group, requirements in groups.items()
        for requirement in requirements
    ]
    while waiting:
        requirement, extra, parent, needed = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        try:
            distribution = importlib.metadata.distribution(name)
        except PackageNotFoundError:
            if needed:
                missing.append(f"{name}: not installed, though {parent} needs it")
            continue
        found[name] = distribution
        for wanted in ("", *requirement.extras):
            if (name, wanted) in seen:
                continue
            seen.add((name, wanted))
            lines = distribution.requires or []
            waiting += [(Requirement(line), wanted, name, True) for line in lines]
    return found, missing


def imported_libraries(package: Path) -> Iterator[tuple[str, str]]:
    """(library, file:line) for every import under a package that is not of itself or of Python."""
    own = {package.name, *sys.stdlib_module_names}
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            for name in names:
                library = name.partition(".")[0]
                if library not in own:
                    yield library, f"{path.relative_to(package.parent)}:{node.lineno}"


def undeclared(package: Path, groups: dict[str, list[Requirement]]) -> list[str]:
    """The imports under a package that no requirement of its users stands for."""
    provided = importlib.metadata.packages_distributions()
    for_users = {
        canonicalize_name(requirement.name)
        for group, requirements in groups.items()
        if group not in ("dev", "build")
        for requirement in requirements
    }
    problems = []
    for library, where in imported_libraries(package):
        # An extra that is not installed is known by its name alone: prometheus_client, or faiss
        # where the requirement is faiss-cpu.
        names = {canonicalize_name(name) for name in provided.get(library, [library])}
        if not any(own == name or own == f"{name}-cpu" for name in names for own in for_users):
            problems.append(f"{where}: imports {library}, which pyproject.toml does not declare")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--verbose", action="store_true", help="list every package")
    verbose = parser.parse_args().verbose

    groups = declared(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    found, problems = closure(groups)
    for name, distribution in sorted(found.items()):
        licence = licence_of(distribution.metadata)
        allowed = is_permissive(licence)
        if not allowed and name in EXCEPTIONS:
            licence, source = EXCEPTIONS[name]
            licence, allowed = f"{licence} ({source})", True
        if not allowed and GPU_RUNTIME.fullmatch(name):
            licence, allowed = "NVIDIA's, part of PyTorch's GPU build", True
        if not allowed:
            problems.append(f"{name}: {licence or 'states no licence'}: not known as permissive")
        if verbose:
            print(f"{name:28} {distribution.version:16} {licence}")
    problems += undeclared(ROOT / "seqloom", groups)
    for problem in problems:
        print(f"licences: {problem}", file=sys.stderr)
    if not problems:
        print(f"licences: {len(found)} packages, all permissive")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
