"""The model card: what a person finds when opening a model folder."""

import shlex
from collections.abc import Sequence
from typing import Any

from seqloom.errors import listed
from seqloom.tasks.setup import model_config


def translate_command(config: dict[str, Any], run: str) -> str:
    """The command that translates with the model in ``run``."""
    towards = f" --tgt-lang {shlex.quote(config['languages'][1])}" if config["directions"] else ""
    return f"seqloom translate {shlex.quote(run)}{towards}"


def predict_command(run: str) -> str:
    """The command that classifies with the model in ``run``."""
    return f"seqloom predict {shlex.quote(run)}"


def translator_card(config: dict[str, Any]) -> str:
    """A README for a model folder, from its config.json."""
    source, target = config["languages"]
    title = f"from {source} to {target}"
    argument = ""
    if config["directions"]:
        title = f"for {', '.join(config['directions'])}"
        argument = f", tgt_lang={target!r}"
    model, training, data = model_config(config["model"]), config["training"], config["data"]
    return f"""# A translator {title}

Made with Seqloom. Use it with

    echo "..." | {translate_command(config, "THIS_FOLDER")}

or in Python with `seqloom.load("THIS_FOLDER").translate(["..."]{argument})`.

{_scores(config)}

- Trained on {data["train_pairs"]:,} sentence pairs for {training["steps"]:,} steps and
  {training["tokens"]:,} target tokens, in {training["seconds"]:,.0f} seconds.
- {training["parameters"] / 1e6:.1f} million parameters: {model.sizes}.
- Data fingerprint: `{data["fingerprint"]}`.
- Validation scores are of greedy translations. The sentences were not trained on, but they chose this
  model among others of its run, so expect a little less on new text.
"""


def classifier_card(config: dict[str, Any], labels: Sequence[str]) -> str:
    """The same for a classifier of ``labels``."""
    training, data = config["training"], config["data"]
    return f"""# A classifier of texts

Made with Seqloom. It tells {len(labels):,} classes apart: {listed(labels)}. Use it with

    echo "..." | {predict_command("THIS_FOLDER")}

or in Python with `seqloom.load("THIS_FOLDER").predict(["..."])`.

{_scores(config)}

- Trained on {data["train_texts"]:,} texts for {training["steps"]:,} steps, in {training["seconds"]:,.0f} seconds.
- {training["parameters"] / 1e6:.1f} million parameters, of the kind {config["model"]["kind"]}.
- Data fingerprint: `{data["fingerprint"]}`.
- The validation texts were not trained on, but they chose this model among others of its run, so expect a little
  less on new text.
"""


def _scores(config: dict[str, Any]) -> str:
    """Those of the validation, with their signatures."""
    scores = "\n".join(f"| {name} | {value:.2f} |" for name, value in config["scores"]["valid"].items())
    signatures = "\n".join(f"- {name}: `{text}`" for name, text in config["scores"]["signatures"].items())
    return f"| validation score | value |\n|---|---|\n{scores}\n\n{signatures}"
