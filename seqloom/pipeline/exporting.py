"""A model in other engines' formats: for our own use beside the model, or in a folder for others."""

import filecmp
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from seqloom.errors import ConfigError, UserError
from seqloom.export.ctranslate2_engine import missing_parts
from seqloom.export.ctranslate2_model import export_model, places, write_ctranslate2, write_for_others
from seqloom.export.huggingface import write_huggingface
from seqloom.export.onnx import write_onnx
from seqloom.export.shortlist import learn_shortlist
from seqloom.export.store import SHORTLIST, Export, find_export, keep_proof, make_export
from seqloom.files import copy_files, require_free
from seqloom.pipeline.engines import read_translator
from seqloom.pipeline.probe import choose
from seqloom.pipeline.quantization import Proof, prove, read_measured, require_accepted, require_type
from seqloom.tasks.setup import TranslatorSetup
from seqloom.tasks.torch_engine import trained_model

Say = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """What was written, and what was measured of it."""

    path: Path
    variant: str
    bytes: int
    proof: Proof | None

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        about = {"path": str(self.path), "variant": self.variant, "bytes": self.bytes}
        return about | {"proof": self.proof.as_dict() if self.proof else None}

    def as_table(self) -> str:
        """For people."""
        line = f"{self.path}: {self.variant}, {self.bytes / 1e6:,.1f} MB"
        return f"{self.proof.as_table()}\n{line}" if self.proof else line


def export(
    run: Path,
    out: Path | None = None,
    variant: str = "float32",
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
        variant: one of :data:`seqloom.export.store.VARIANTS`; a shortlist is learnt from the run's training data.
        measured_on: sources and their references, for another type than float32.
        languages: which direction is measured, where the model knows several. The type is used by default when it was
            accepted into each of the model's languages.
        most_bleu: a type that costs more is refused.
        threads: of the measurement; all cores unless given.
        say: where sentences about progress go.

    Raises:
        UserError: if the model cannot be exported, ``out`` is in use, or the type costs too much. An export of that
            type that was accepted before is then no longer proven.
    """
    folder = read_translator(run)
    setup = TranslatorSetup.from_folder(folder)
    if missing := missing_parts(setup.model):
        raise ConfigError(f"{folder.path}: cannot be exported, CTranslate2 does not know {missing}")
    if out is not None:
        require_free(out)
    plain, proof = find_export(folder, "float32")[0] or export_model(folder, "float32"), None
    kept = plain
    if variant != "float32":
        assert measured_on is not None
        require_type(variant)
        pairs = read_measured(*measured_on)
        directed = setup.towards(*languages)
        earlier = find_export(folder, variant)[0]
        shortlist = learn_shortlist(run, setup.vocab_sizes) if variant.endswith(SHORTLIST) else None
        # What is there stays as it is until the new one is measured.
        with TemporaryDirectory(prefix="seqloom-export-") as scratch:
            trial = Export(Path(scratch), variant, places(setup))
            write_ctranslate2(trained_model(folder, setup), setup, trial.path, variant, shortlist)
            shape = choose([plain], setup, threads, say).shape
            say(f"Translating {measured_on[0]} in float32 and in {variant}, in turns.")
            proof = prove(folder, directed, plain, trial, shape, pairs, measured_on[0].name, most_bleu)
            if not proof.accepted:
                say(proof.as_table())
                if earlier is not None and proof.judge:
                    keep_proof(earlier, proof.direction.tgt, proof.as_dict())
            require_accepted(proof, bool(earlier and earlier.proven))
            proofs = {**_proofs_of(trial, earlier), proof.direction.tgt: proof.as_dict()}
            kept = make_export(folder, variant, trial.places, lambda new: copy_files(trial.path, new), proofs)
            if kept.unproven:
                say(
                    f"{variant} is not used by default before it is accepted into {', '.join(kept.unproven)} as well; "
                    f"measure that with --tgt-lang."
                )
    path = kept.path if out is None else write_for_others(kept, setup, out)
    return Exported(path, variant, _size(path), proof)


WRITERS = {"onnx": write_onnx, "huggingface": write_huggingface}


def export_plain(run: Path, out: Path, to: str) -> Exported:
    """Exports the model of a folder as it is, in one of the formats of ``WRITERS``.

    Raises:
        UserError: if the format has no such model, ``out`` is in use, or a library is missing.
    """
    folder = read_translator(run)
    setup = TranslatorSetup.from_folder(folder)
    require_free(out)
    try:
        WRITERS[to](trained_model(folder, setup), setup, out)
    except ModuleNotFoundError as error:
        raise UserError(
            f"--to {to} needs {error.name}, which is not installed: pip install 'seqloom[export]'"
        ) from None
    return Exported(out, "float32", _size(out), None)


def _proofs_of(trial: Export, earlier: Export | None) -> dict[str, dict[str, Any]]:
    """What was measured of an earlier export, if that was the same, file by file."""
    if earlier is None:
        return {}
    names = [file.name for file in trial.path.iterdir()]
    same, _, _ = filecmp.cmpfiles(earlier.path, trial.path, names, shallow=False)
    return earlier.proofs if len(same) == len(names) else {}


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())
