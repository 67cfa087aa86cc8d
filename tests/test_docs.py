"""What the documentation says is so: every command in it runs, every name in it exists.

A page's fenced blocks are run in their order, in one folder that holds the small files the pages
name (train.zh, train.en and so on). Commands run as they are written: settings are read and
checked as documented, and only the training itself is made tiny. Blocks marked `text` show what is
printed and are not run.
"""

import ast
import contextlib
import csv
import gzip
import io
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from seqloom import cli, errors
from seqloom.config import MODEL_CONFIGS, ModelConfig, RecurrentConfig, Section, load_config
from seqloom.data.readers import COMPRESSIONS, READERS
from seqloom.layers.recurrent import CELLS
from seqloom.layers.scoring import SCORES
from seqloom.models.encoder_decoder import EncoderDecoder
from seqloom.models.recurrent import DECODERS
from seqloom.pipeline import quantization
from seqloom.pipeline.translator import Translation
from seqloom.tasks.registry import TASKS
from seqloom.training import bench, process, session

ROOT = Path(__file__).resolve().parent.parent
READMES = ("README.md", "README.zh.md")
PAGES = [*READMES, *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
# These two report measurements: their commands take long and need real data.
MEASURED = ("docs/results.md", "docs/benchmarks.md")
RUN_PAGES = [page for page in PAGES if page not in MEASURED]

LANGUAGES = {"bash", "python", "toml", "json", "text"}

# What a command that is not run contains, and why it is not run.
NOT_RUN = {
    "scripts/": "makes .venv and runs for minutes; the tests are themselves one of them",
    "pip install": "needs the network",
    "python -m venv": "makes an environment that only pip install would use",
    "activate": "acts on a person's shell",
    "tensorboard": "is a server that does not end",
    "--device cuda": "needs a GPU",
    "lab all": "measures for minutes; the tests of lab/ make the quick pages",
    "torchrun": "starts processes of its own, as the tests of training/distributed.py do",
}
# Options of other programs.
FOREIGN_OPTIONS = {"--index-url", "--extra-index-url", "--logdir", "--no-deps"}
FOREIGN_OPTIONS |= {"--nproc-per-node", "--nnodes", "--rdzv-backend", "--rdzv-endpoint", "--rdzv-id", "--max-restarts"}
FOREIGN_OPTIONS |= {"--nodes", "--ntasks-per-node", "--gpus-per-node", "--cpus-per-task", "--requeue", "--signal"}


# --- reading the pages ---


@dataclass(frozen=True)
class Block:
    """One fenced block; `line` is the line after its fence."""

    page: str
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    found: list[Block] = []
    opened: tuple[int, str] | None = None
    body: list[str] = []
    for number, line in enumerate(text_of(page).splitlines(), start=1):
        if line.startswith("```") and opened is None:
            opened, body = (number + 1, line[3:].strip()), []
        elif line.startswith("```") and opened is not None:
            found.append(Block(page, *opened, "\n".join(body) + "\n"))
            opened = None
        else:
            body.append(line)
    assert opened is None, f"{page}:{opened}: this block is never closed"
    return found


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)


def inline_code(page: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(page))


def headings(page: str) -> list[tuple[int, str]]:
    return [(len(marks), title) for marks, title in re.findall(r"^(#+) (.+)$", prose(page), re.MULTILINE)]


def section(page: str, heading: str) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    text = text_of(page)
    # A line of a block may begin with a hash as well.
    plain = re.sub(r"^```.*?^```$", lambda block: block[0].replace("#", "."), text, flags=re.MULTILINE | re.DOTALL)
    start = re.search(rf"^(#+) {re.escape(heading)}$", plain, re.MULTILINE)
    assert start, f"{page} has no heading {heading!r}"
    end = re.search(rf"^#{{1,{len(start[1])}}} ", plain[start.end() :], re.MULTILINE)
    return text[start.end() :][: end.start() if end else None]


def first_column(text: str) -> list[str]:
    """The code in the first cells of the rows of the tables in a text."""
    return [
        name for cell in re.findall(r"^\| *(`[^|]+) \|", text, re.MULTILINE) for name in re.findall(r"`(.+?)`", cell)
    ]


def commands(block: Block) -> list[str]:
    """The commands of a block; a line that ends in a backslash goes on."""
    joined = block.text.replace("\\\n", " ")
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
    return [re.sub(r"\s+", " ", line) for line in lines if line]


def is_run(command: str) -> bool:
    return not any(mark in command for mark in NOT_RUN)


# --- running them ---


def sentence_pairs() -> list[tuple[str, str]]:
    """Some hundred simple pairs, mixed up the same way every time."""
    subjects = "我 I,你 You,他 He,她 She,我们 We,他们 They"
    verbs = "喜欢 like,买 buy,看见 see,需要 need,想要 want,带来 bring"
    things = "茶 tea,米饭 rice,书 books,苹果 apples,花 flowers,鱼 fish,面包 bread,牛奶 milk,鞋子 shoes,报纸 newspapers"
    words = [[entry.split(" ") for entry in entries.split(",")] for entries in (subjects, verbs, things)]
    pairs = [
        (f"{who[0]}{act[0]}{what[0]}。", f"{who[1]} {act[1]}{'s' * (who[1] in ('He', 'She'))} {what[1]}.")
        for who, act, what in itertools.product(*words)
    ]
    return [pairs[7 * i % len(pairs)] for i in range(len(pairs))]  # 7 does not divide 360


def write_files(folder: Path) -> None:
    """The files that the pages name."""
    pairs = sentence_pairs()
    for name, chosen in {"train": pairs[40:], "valid": pairs[:20], "test": pairs[20:40]}.items():
        for column, language in enumerate(("zh", "en")):
            text = "".join(pair[column] + "\n" for pair in chosen)
            (folder / f"{name}.{language}").write_text(text, encoding="utf-8")
            with gzip.open(folder / f"{name}.{language}.gz", "wt", encoding="utf-8") as file:
                file.write(text)
    tsv = "".join("\t".join(pair) + "\n" for pair in pairs[40:])
    (folder / "pairs.tsv").write_text(tsv, encoding="utf-8")
    (folder / "corrections.tsv").write_text("".join(tsv.splitlines(keepends=True)[:40]), encoding="utf-8")
    with gzip.open(folder / "pairs.csv.gz", "wt", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("src", "tgt"), *pairs[40:]])
    jsonl = "".join(json.dumps({"translation": {"zh": zh, "en": en}}) + "\n" for zh, en in pairs[:20])
    (folder / "pairs.jsonl").write_text(jsonl, encoding="utf-8")
    variant = '<tuv xml:lang="{}"><seg>{}</seg></tuv>'
    units = "".join(f"<tu>{variant.format('zh', zh)}{variant.format('en', en)}</tu>\n" for zh, en in pairs[40:80])
    (folder / "memory.tmx").write_text(f'<tmx version="1.4"><body>\n{units}</body></tmx>\n', encoding="utf-8")
    (folder / "test.domains").write_text("shop\nschool\n" * 10, encoding="utf-8")
    (folder / "notes.zh").write_text("我喜欢茶。\n\n他买书。她买花。\n", encoding="utf-8")
    (folder / "starts.en").write_text("I like\n\nHe \n", encoding="utf-8")
    for name, chosen in {"labelled": pairs[40:], "labelled-valid": pairs[:20], "labelled-test": pairs[20:40]}.items():
        text = "".join(f"{'good' if 'like' in en else 'bad'}\t{en}\n" for _, en in chosen)
        (folder / f"{name}.tsv").write_text(text, encoding="utf-8")
    (folder / "texts.txt").write_text("I like tea.\n\nHe buys books.\n", encoding="utf-8")
    (folder / "old.zh").write_bytes("我喜欢茶。\n".encode("gb18030"))


def shrunk(config: Any) -> Any:
    """The config of a run that takes a moment; more steps stay more steps."""
    model = {"d_model": 16, "d_ff": 16, "num_heads": 2, "num_encoder_layers": 1, "num_decoder_layers": 1}
    model |= {"hidden_size": 16, "filters": 8, "buckets": 64}
    training: dict[str, Any] = {
        "steps": 4 + (config.training.steps or 0) // 5000,
        "validate_every": 1000,
        "checkpoint_every": 2,
    }
    if config.training.replay:
        training["steps"] = None
    if config.training.budget:
        training["budget"] = 4 + config.training.budget / 1200
    changes: dict[str, dict[str, Any]] = {
        "data": {"batch_tokens": 1024},
        "model": model,
        "training": {**training, "warmup": 1, "precision": "float32"},
        "decoding": {"max_length": 8},
    }
    return config.model_copy(
        update={
            name: section.model_copy(
                update={key: value for key, value in changes[name].items() if key in type(section).model_fields}
            )
            for name, section in config
        }
    )


class Sandbox:
    """A folder in which the commands of a page are run, one after another."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_files(folder)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("SEQLOOM_DATA", str(folder))
        train = session.train

        def small_train(task: Any, configured: Any, *rest: Any) -> Any:
            return train(task, lambda defaults: shrunk(configured(defaults)), *rest)

        monkeypatch.setattr(session, "train", small_train)
        monkeypatch.setattr(bench, "load_config", lambda *given, **options: shrunk(load_config(*given, **options)))
        measure: Any = bench.measure_speed
        monkeypatch.setattr(bench, "measure_speed", lambda *given: measure(*given[:-1], 0.1))
        # A model that has learnt for some steps may lose any score by a change.
        monkeypatch.setattr(quantization.Proof, "accepted", True)
        # Threads and allocator are the business of a process of one's own.
        monkeypatch.setattr(process, "arrange", lambda threads: None)
        self.names: dict[str, Any] = {}
        self.said = ""

    def run(self, block: Block) -> None:
        if block.language == "bash":
            for command in filter(is_run, commands(block)):
                self.shell(command, block.where)
        elif block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                exec(compile("\n" * (block.line - 1) + block.text, block.page, "exec"), self.names)
        elif block.language == "toml":
            self.recipe(block)
        elif block.language == "json":
            json.loads(block.text)

    def recipe(self, block: Block) -> None:
        """A whole recipe names its file in its first line; every recipe must be readable."""
        named = re.match(r"# (\S+\.toml)\n", block.text)
        path = Path(named[1] if named else "unnamed.toml")
        path.write_text(block.text, encoding="utf-8")
        load_config(TASKS["translate"].Config, recipe=path)

    def shell(self, command: str, where: str) -> None:
        """As much of a shell as the pages use: words, quotes, `|`, `<`, `>`."""
        assert "$" not in command, f"{where}: a variable, which this test does not know: {command}"
        lexer = shlex.shlex(command, posix=True, punctuation_chars="|<>")
        lexer.whitespace_split = True
        stages: list[list[str]] = [[]]
        data, target = b"", None
        tokens = iter(lexer)
        for token in tokens:
            if token == "|":
                stages.append([])
            elif token == "<":
                data = Path(next(tokens)).read_bytes()
            elif token == ">":
                target = Path(next(tokens))
            else:
                stages[-1].append(token)
        for stage in stages:
            if stage[0] == "seqloom":
                data = self.seqloom(stage, data, where)
            else:
                ran = subprocess.run(stage, input=data, capture_output=True, check=False)
                assert ran.returncode == 0, f"{where}: {command}\n{ran.stderr.decode()}"
                data = ran.stdout
        if target:
            target.write_bytes(data)

    def seqloom(self, arguments: list[str], data: bytes, where: str) -> bytes:
        """The program, in this process: loading torch anew takes longer than all that is done here."""
        out, said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", arguments)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", said)
            with pytest.raises(SystemExit) as end:
                cli.main()
        self.said += said.getvalue()
        assert not end.value.code, f"{where}: {shlex.join(arguments)} ended with {end.value.code}\n{said.getvalue()}"
        return out.buffer.getvalue()


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    return Sandbox(folder, monkeypatch)


@pytest.mark.parametrize("page", RUN_PAGES)
def test_every_block_of_a_page_runs(page, sandbox):
    for block in blocks(page):
        sandbox.run(block)


def test_a_command_that_fails_is_seen(sandbox):
    with pytest.raises(AssertionError, match="ended with 2"):
        sandbox.shell("seqloom translate runs/none < notes.zh", "here")
    with pytest.raises(AssertionError, match="No such file"):
        sandbox.shell("cat none.zh | head -1", "here")


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page):
    assert [block.where for block in blocks(page) if block.language not in LANGUAGES] == []


def test_each_reason_not_to_run_a_command_is_needed():
    written = [command for page in RUN_PAGES for b in blocks(page) if b.language == "bash" for command in commands(b)]
    assert [mark for mark in NOT_RUN if not any(mark in command for command in written)] == []


# --- links ---


def slug(title: str) -> str:
    """The anchor that a heading gets."""
    kept = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower())
    return kept.replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        if not path.exists():
            broken.append(target)
        elif anchor:
            anchors = {slug(title) for _, title in headings(os.path.relpath(path.resolve(), ROOT))}
            broken += [] if anchor in anchors else [target]
    assert broken == []


@pytest.mark.parametrize("readme", READMES)
def test_every_page_can_be_found_from_the_readme(readme):
    assert [page for page in PAGES if page.startswith("docs/") and f"({page})" not in text_of(readme)] == []


# --- options, settings and other names ---


def help_of(*command: str) -> str:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(sys, "argv", ["seqloom", *command, "--help"])
        with pytest.raises(SystemExit):
            cli.main()
    return out.getvalue()


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))


def listed_commands() -> list[str]:
    """Every command; those of a group by both names."""
    found = []
    for name in _listed():
        found += [f"{name} {part}" for part in _listed(name)] or [name]
    return found


def _listed(*group: str) -> list[str]:
    return re.findall(r"^  ([a-z]+) ", help_of(*group).partition("Commands:")[2], re.MULTILINE)


@pytest.fixture(scope="module")
def known_options():
    return {name: options_in(help_of(*name.split())) for name in listed_commands()} | {"": options_in(help_of())}


@pytest.mark.parametrize("page", PAGES)
def test_every_option_exists(page, known_options):
    known = set().union(FOREIGN_OPTIONS, *known_options.values())
    for code in [*inline_code(page), *(block.text for block in blocks(page))]:
        of_scripts = (options_of_script(name) for name in re.findall(r"benchmarks/\w+\.py", code))
        assert options_in(code) - known.union(*of_scripts) == set()


def options_of_script(name: str) -> set[str]:
    """Read from its text: to ask it for help would import half of its world."""
    return set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', text_of(name)))


def test_the_command_line_page_has_every_option_of_every_command(known_options):
    for name in listed_commands():
        table = " ".join(first_column(section("docs/command-line.md", f"seqloom {name}")))
        assert options_in(table) == known_options[name] - {"--help"}, name


def settings_of(config: type[Section]) -> set[str]:
    known = {"model.num_layers"}
    for name, field in config.model_fields.items():
        variants = [field.annotation] if isinstance(field.annotation, type) else MODEL_CONFIGS.values()
        for variant in variants:
            assert isinstance(variant, type)
            known |= {f"{name}.{key}" for key in variant.model_fields}
    return known


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_exists(page):
    known = set().union(*(settings_of(task.Config) for task in TASKS.values()))
    sections = "|".join(TASKS["translate"].Config.model_fields)
    code = " ".join(inline_code(page))
    written = set(re.findall(rf"(?<![\w./-])(?:{sections})\.[a-z_]+(?![\w(])", code)) - {"model.safetensors"}
    assert written - known == set()


def test_the_recipe_page_explains_every_section():
    assert set(first_column(section("docs/recipe.md", "The sections"))) == {
        f"[{name}]" for name in TASKS["translate"].Config.model_fields
    }


def test_the_presets_are_as_documented():
    rows = re.findall(r"^\| `(\w+)` \|(.+)\|$", section("docs/sizes.md", "The presets"), re.MULTILINE)
    assert [name for name, _ in rows] == list(ModelConfig.PRESETS)
    for name, cells in rows:
        preset = ModelConfig.PRESETS[name]
        with torch.device("meta"):
            model = EncoderDecoder(ModelConfig.model_validate({"preset": name}), 8000, 8000)
        millions = sum(weight.numel() for weight in model.parameters()) / 1e6
        expected = [preset["num_layers"], preset["d_model"], preset["d_ff"], preset["num_heads"], preset["dropout"]]
        assert [cell.strip() for cell in cells.split("|")][:7] == [
            *map(str, expected),
            preset["norm"],
            f"{millions:.1f} M",
        ]


RECURRENT_PARTS: dict[str, Mapping[str, Any]] = {"cell": CELLS, "decoder": DECODERS, "score": SCORES}


def test_the_recurrent_page_lists_exactly_the_parts_there_are():
    rows = re.findall(r"^\| `model\.(\w+)` \| `(\w+)` \|", text_of("docs/recurrent.md"), re.MULTILINE)
    assert sorted(rows) == sorted((field, name) for field, parts in RECURRENT_PARTS.items() for name in parts)
    for field, parts in RECURRENT_PARTS.items():
        assert set(get_args(RecurrentConfig.model_fields[field].annotation)) == set(parts)


def test_the_formats_are_as_documented():
    formats = first_column(section("docs/formats.md", "The formats"))
    assert set(READERS) == set(formats)
    assert set(COMPRESSIONS) <= set(inline_code("docs/formats.md"))


# --- what is written ---


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run made by the command of the README."""
    folder = tmp_path_factory.mktemp("documented")
    with pytest.MonkeyPatch.context() as patch:
        sandbox = Sandbox(folder, patch)
        sandbox.shell("seqloom train run --src train.zh --tgt train.en --src-lang zh --tgt-lang en", "here")
    (folder / "said").write_text(sandbox.said, encoding="utf-8")
    return folder / "run"


def test_the_fields_of_the_log_are_as_documented(run_folder):
    written = {key for line in (run_folder / "log.jsonl").read_text().splitlines() for key in json.loads(line)}
    of_several = {"exchange"}
    assert set(first_column(section("docs/log.md", "log.jsonl"))) == written | of_several


def shape(line: str) -> str:
    """A printed line without its figures."""
    return re.sub(r"\d[\d,.:]*(e-\d+)?", "0", line)


@pytest.mark.parametrize("heading", ["The line on the screen", "A validation", "A good run"])
def test_the_lines_on_the_screen_are_as_documented(run_folder, heading):
    printed = {shape(line) for line in (run_folder.parent / "said").read_text(encoding="utf-8").splitlines()}
    drawn = re.search(r"^```text\n(.*?)^```", section("docs/log.md", heading), re.MULTILINE | re.DOTALL)
    assert drawn
    for line in drawn[1].splitlines():
        if line.startswith("step"):
            assert any(full.startswith(shape(line)) for full in printed), line


def test_the_json_lines_of_translate_are_as_documented(run_folder, tmp_path, monkeypatch):
    (documented,) = (json.loads(block.text) for block in blocks("docs/command-line.md") if block.language == "json")
    command = ["seqloom", "translate", str(run_folder), "--format", "jsonl", "--n-best", "2"]
    printed = json.loads(Sandbox(tmp_path, monkeypatch).seqloom(command, "我喜欢茶。\n".encode(), "here"))
    assert list(printed) == list(documented)
    assert [list(found) for found in printed["n_best"]] == [list(found) for found in documented["n_best"]]


@pytest.mark.parametrize(
    ("heading", "file"),
    [
        ("config.json", "model/config.json"),
        ("run.json", "run.json"),
        ("state.json", "checkpoints/step-4/state.json"),
        ("prepared.json", "data/prepared.json"),
    ],
)
def test_the_fields_of_a_file_are_as_documented(run_folder, heading, file):
    documented = {name.partition(".")[0] for name in first_column(section("docs/files.md", heading))}
    assert documented == set(json.loads((run_folder / file).read_text()))


def test_the_files_of_a_run_are_as_documented(run_folder):
    documented = set(drawn_paths(section("docs/files.md", "The run folder")))
    written = {re.sub(r"step-\d+", "step-N", str(path.relative_to(run_folder))) for path in run_folder.rglob("*")}
    written = {re.sub(r"events\..*", "events...", name) for name in written}
    assert {path.removeprefix("runs/mine/") for path in documented} - {"runs/mine"} == written


def test_the_fields_of_a_translation_are_as_documented():
    documented = first_column(section("docs/python.md", "What comes back"))
    assert documented == [field.name for field in fields(Translation)]


def test_the_errors_are_as_documented():
    raised = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert set(first_column(section("docs/python.md", "Errors"))) == raised


def templates() -> Iterator[str]:
    """Every text in the program; a value that is put in is an ellipsis."""
    for path in (ROOT / "seqloom").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)


def test_every_message_is_one_of_the_program():
    known = list(templates())
    messages = [
        message
        for page in ("docs/own-data.md", "docs/formats.md")
        for message in first_column(section(page, "What the messages mean"))
    ]
    assert len(messages) > 30
    unknown = []
    for message in messages:
        pattern = ".*".join(map(re.escape, message.split("…")))
        if not any(re.search(pattern, text, re.DOTALL) for text in known):
            unknown.append(message)
    assert unknown == []


# --- the two READMEs ---


def drawn_paths(text: str) -> Iterator[str]:
    """The paths of a tree drawn with two spaces a level; what follows two spaces is said of it."""
    stack: list[str] = []
    drawing = re.search(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert drawing, "no tree is drawn"
    for line in drawing[1].splitlines():
        name = line.strip().partition("  ")[0]
        depth = (len(line) - len(line.lstrip())) // 2
        stack[depth:] = [name.rstrip("/")]
        yield "/".join(stack)


@pytest.mark.parametrize(("readme", "heading"), [("README.md", "What is where"), ("README.zh.md", "目录结构")])
def test_the_tree_is_the_project(readme, heading):
    drawn = list(drawn_paths(section(readme, heading)))
    assert [path for path in drawn if not (ROOT / path).exists()] == []
    rooms = {path.relative_to(ROOT).as_posix() for path in (ROOT / "seqloom").iterdir() if path.name[0] not in "_."}
    assert rooms - set(drawn) - {"seqloom/py.typed"} == set()


def test_both_readmes_have_the_same_structure():
    ours, theirs = ([level for level, _ in headings(page)] for page in READMES)
    assert ours == theirs
    ours_blocks, theirs_blocks = ([block.language for block in blocks(page)] for page in READMES)
    assert ours_blocks == theirs_blocks


def test_both_readmes_have_the_same_commands():
    for ours, theirs in zip(*map(blocks, READMES), strict=True):
        if ours.language == "bash":
            assert commands(ours) == commands(theirs)
        elif ours.language == "toml":
            assert tomllib.loads(ours.text) == tomllib.loads(theirs.text)
        elif ours.language == "python":
            assert ast.dump(ast.parse(ours.text)) == ast.dump(ast.parse(theirs.text))


def test_both_readmes_have_a_place_for_the_results():
    for readme in READMES:
        assert re.search(r"<!-- results -->\n.*<!-- /results -->", text_of(readme), re.DOTALL), readme
