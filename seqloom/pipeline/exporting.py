"""A model in CTranslate2's format: for our own use beside the model, or in a folder for others."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqloom.errors import ConfigError, UserError
from seqloom.export.ctranslate2_engine import missing_parts
from seqloom.export.ctranslate2_model import export_model, write_for_others
from seqloom.export.store import discard, find_export, keep_proof
from seqloom.pipeline.engines import read_translator
from seqloom.pipeline.probe import choose
from seqloom.pipeline.quantization import Proof, prove, require_accepted
from seqloom.tasks.setup import TranslatorSetup

Say = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """What was written, and what was measured of it."""

    path: Path
    compute_type: str
    bytes: int
    proof: Proof | None

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        about = {"path": str(self.path), "compute_type": self.compute_type, "bytes": self.bytes}
        return about | {"proof": self.proof.as_dict() if self.proof else None}

    def as_table(self) -> str:
        """For people."""
        line = f"{self.path}: {self.compute_type}, {self.bytes / 1e6:,.1f} MB"
        return f"{self.proof.as_table()}\n{line}" if self.proof else line


def export(
    run: Path,
    out: Path | None = None,
    compute_type: str = "float32",
    measured_on: tuple[Path, Path] | None = None,
    languages: tuple[str, str] = ("", ""),
    most_bleu: float = 0.5,
    threads: int | None = None,
    say: Say = lambda text: None,
) -> Exported:
    """Exports the model of a folder; one in fewer bits only after what it costs was measured.

    Args:
        run: a run or model folder.
        out: a folder that is not there yet or is empty; None keeps the export with the model.
        compute_type: float32, bfloat16 or int8.
        measured_on: sources and their references, for another type than float32.
        languages: which direction is measured, where the model knows several.
        most_bleu: a type that costs more is refused.
        threads: of the measurement; all cores unless given.
        say: where sentences about progress go.

    Raises:
        UserError: if the model cannot be exported, ``out`` is in use, or the type costs too much.
    """
    folder = read_translator(run)
    setup = TranslatorSetup.from_folder(folder)
    if missing := missing_parts(setup.model):
        raise ConfigError(f"{folder.path}: cannot be exported, CTranslate2 does not know {missing}")
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: is there already; give a folder that is not, or is empty")
    plain = find_export(folder, "float32")[0] or export_model(folder, "float32")
    kept, proof = plain, None
    if compute_type != "float32":
        kept = export_model(folder, compute_type)
        assert measured_on is not None
        try:
            directed = setup.towards(*languages)
            shape = choose([plain], setup, threads, say).shape
            say(f"Translating {measured_on[0]} in float32 and in {compute_type}, in turns.")
            proof = prove(folder, directed, plain, kept, shape, *measured_on, most_bleu)
            require_accepted(proof)
        except BaseException:
            discard(kept)
            raise
        kept = keep_proof(kept, proof.as_dict())
    path = kept.path if out is None else write_for_others(kept, setup, out)
    size = sum(file.stat().st_size for file in path.iterdir())
    return Exported(path, compute_type, size, proof)
