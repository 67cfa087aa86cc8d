"""The model card: what a person finds when opening a model folder."""

from typing import Any

from seqloom.tasks.setup import model_config


def translator_card(config: dict[str, Any]) -> str:
    """A README for a model folder, from its config.json."""
    source, target = config["languages"]
    title = f"from {source} to {target}"
    option, argument = "", ""
    if config["directions"]:
        title = f"for {', '.join(config['directions'])}"
        option, argument = f" --tgt-lang {target}", f", tgt_lang={target!r}"
    scores = "\n".join(f"| {name} | {value:.2f} |" for name, value in config["scores"]["valid"].items())
    signatures = "\n".join(f"- {name}: `{text}`" for name, text in config["scores"]["signatures"].items())
    model, training, data = model_config(config["model"]), config["training"], config["data"]
    return f"""# A translator {title}

Made with Seqloom. Use it with

    echo "..." | seqloom translate THIS_FOLDER{option}

or in Python with `seqloom.load("THIS_FOLDER").translate(["..."]{argument})`.

| validation score | value |
|---|---|
{scores}

{signatures}

- Trained on {data["train_pairs"]:,} sentence pairs for {training["steps"]:,} steps and
  {training["tokens"]:,} target tokens, in {training["seconds"]:,.0f} seconds.
- {training["parameters"] / 1e6:.1f} million parameters: {model.sizes}.
- Data fingerprint: `{data["fingerprint"]}`.
- Validation scores are of greedy translations. The sentences were not trained on, but they chose this
  model among others of its run, so expect a little less on new text.
"""
