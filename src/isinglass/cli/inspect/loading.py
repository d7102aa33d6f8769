"""Models and tokenizers of a folder, or of the hub where the user names one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from isinglass._support.optional import require_extra
from isinglass.errors import FileError, ParameterError

with require_extra("hf"):
    import transformers
    from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel
    from transformers.utils import logging

__all__ = ["Loaded", "load"]

HUB = "hub:"
Loaded = tuple[PreTrainedModel, Any]


def load(name: str, say: Callable[[str], None]) -> Loaded:
    """Loads a model in float32, and its tokenizer; nothing of the folder is run.

    Args:
        name: A folder, or ``hub:OWNER/NAME``.
        say: Told what is downloaded.

    Raises:
        FileError: If there is no such folder, or it is no whole model.
        ParameterError: If the architecture is unknown to this version of transformers.
    """
    with _silent():
        if name.startswith(HUB):
            place = name.removeprefix(HUB)
            if not place or place.count("/") > 1:
                raise ParameterError(f"model {name}", "Name it hub:OWNER/NAME")
            say(f"Downloading {place} from huggingface.co, unless it is in the cache: "
                "configuration, tokenizer, weights.")  # fmt: skip
            return _read(name, place, {})
        _check_folder(name)
        return _read(name, name, {"local_files_only": True})


def _check_folder(name: str) -> None:
    folder = Path(name)
    if not folder.is_dir():
        remedy = "Give a folder that has a model"
        if re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):  # as models are called on the hub
            remedy += (
                f". Download it with: hf download {name} --local-dir {name}; or let this command "
                f"do it: {HUB}{name}"
            )
        raise FileError("there is no such folder", remedy, f"reading the model {name}")
    if not (folder / "config.json").is_file():
        raise FileError(
            "there is no config.json in it", "Give the folder that save_pretrained wrote",
            f"reading the model {name}",
        )  # fmt: skip


def _read(name: str, place: str, options: dict[str, Any]) -> Loaded:
    doing = f"reading the model {name}"
    try:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False, **options)
    except (ValueError, KeyError, json.JSONDecodeError) as error:
        raise ParameterError(
            f"an architecture that transformers {transformers.__version__} does not know: "
            f"{_first_line(error)}",
            "Use a model that it knows, or another version of it", doing,
        ) from error  # fmt: skip
    except OSError as error:
        raise FileError(_first_line(error), "Give a whole model", doing) from error
    kind = getattr(transformers, (config.architectures or [""])[0] or "", AutoModel)
    try:
        model = kind.from_pretrained(
            place, config=config, dtype=torch.float32, use_safetensors=True, **options
        )
    except Exception as error:  # whatever is wrong with files that others wrote
        raise FileError(
            f"its weights cannot be read: {_first_line(error)}",
            "Give a folder with model.safetensors, as save_pretrained writes it", doing,
        ) from error  # fmt: skip
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False, **options)
    except Exception as error:  # as above
        raise FileError(
            f"it has no tokenizer that can be read: {_first_line(error)}",
            "Save the tokenizer beside it; models of images are for the Python function inspect",
            doing,
        ) from error  # fmt: skip
    return model.eval(), tokenizer


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]


@contextmanager
def _silent() -> Iterator[None]:
    """Keeps transformers from printing and from bars of its own, which the command has."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
