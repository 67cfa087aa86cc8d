"""Write requirements.lock: exact versions and hashes of everything but PyTorch.

    .venv/bin/python scripts/lock.py              # keep the pins that still fit pyproject.toml
    .venv/bin/python scripts/lock.py --upgrade    # take the newest of everything

One file serves Linux, macOS and Windows and every supported Python (`uv pip compile --universal`).
PyTorch is installed apart, by `scripts/setup`, because its CPU and GPU builds are different files
of one version: the lock names that version (the one in the environment that runs this script)
and pins what PyTorch itself requires. NVIDIA's libraries and Triton are left to the GPU build,
whose own metadata pins them exactly.
"""

import importlib.metadata
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
EXTRAS = ("dev", "parquet", "export", "look")  # what the scripts install beside the base dependencies
EDITABLE_BUILD = ("editables",)  # hatchling asks for it to install the checkout in place

HEADER = """\
# Written by scripts/lock.py from pyproject.toml. Do not edit.
# PyTorch is installed apart, for its CPU and GPU builds differ; its version is read from here:
# torch=={torch}
"""


def name_of(requirement: str) -> str:
    """The distribution that a requirement line names, in lower case."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    if found is None:
        raise ValueError(f"not a requirement: {requirement!r}")
    return found.group().lower()


def wanted(pyproject: dict) -> list[str]:
    """Every direct requirement except PyTorch, and what PyTorch's CPU build stands on."""
    project = pyproject["project"]
    lines = [line for line in project["dependencies"] if name_of(line) != "torch"]
    for extra in EXTRAS:
        lines += project["optional-dependencies"][extra]
    lines += [*pyproject["build-system"]["requires"], *EDITABLE_BUILD]
    for line in importlib.metadata.requires("torch") or []:
        gpu_only = name_of(line).startswith(("nvidia-", "cuda-", "triton"))
        if not gpu_only and "extra ==" not in line:
            lines.append(line)
    return lines


def main() -> int:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    oldest_python = pyproject["project"]["requires-python"].removeprefix(">=")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = folder / "requirements.in"
        source.write_text("\n".join(wanted(pyproject)) + "\n", encoding="utf-8")
        target = folder / "requirements.lock"
        if LOCK.exists():  # uv keeps the versions that it finds in the file it is to write
            target.write_bytes(LOCK.read_bytes())
        venv.create(folder / "venv", with_pip=True)
        programs = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
        subprocess.run([programs / "python", "-m", "pip", "install", "--quiet", "uv"], check=True)
        command = [str(programs / "uv"), "pip", "compile", str(source)]
        command += ["--output-file", str(target)]
        command += ["--universal", "--python-version", oldest_python, "--fork-strategy", "fewest"]
        command += ["--generate-hashes", "--no-header", "--no-annotate", "--quiet", *sys.argv[1:]]
        subprocess.run(command, check=True)
        torch = importlib.metadata.version("torch").partition("+")[0]
        LOCK.write_text(HEADER.format(torch=torch) + target.read_text(encoding="utf-8"), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
