"""Frozen, checked settings from TOML recipes and flags.

Each section is a pydantic model whose field descriptions become the comments of the recipe that
``seqloom config TASK`` prints, so a setting is documented in one place. Nothing here knows a
file format, a model or a task; tasks say which sections they need.
"""

from seqloom.config.classification import ClassifierConfig, ClassifierTraining, LabelledDataConfig
from seqloom.config.data import DataConfig
from seqloom.config.decoding import DecodingConfig
from seqloom.config.loading import load_config, recipe_text, section_settings
from seqloom.config.model import MODEL_CONFIGS, AnyModelConfig, ModelConfig, NetworkConfig, RecurrentConfig
from seqloom.config.section import Section
from seqloom.config.training import TrainingConfig

__all__ = [
    "MODEL_CONFIGS",
    "AnyModelConfig",
    "ClassifierConfig",
    "ClassifierTraining",
    "DataConfig",
    "DecodingConfig",
    "LabelledDataConfig",
    "ModelConfig",
    "NetworkConfig",
    "RecurrentConfig",
    "Section",
    "TrainingConfig",
    "load_config",
    "recipe_text",
    "section_settings",
]
