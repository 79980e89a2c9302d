"""Weights and tokenizer of a model, read once per process: a folder, a name on the hub, or one made at random.

`random` is a model of a few thousand parameters with a tokenizer of single characters: it knows nothing, needs no
download, and passes through everything that a real one does.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tpobench.data.models import EXTRA, place_of
from tpobench.errors import DataUnavailable, in_one_line
from tpobench.policies.causal import Weights

RANDOM = "random"
REMEDY = "name a folder with config.json, weights and tokenizer, or what the hub has under a name that is reached here"
CHARACTERS = string.digits + string.ascii_lowercase + "+-=?.# \n"  # others are unknown to it
SMALLEST: dict[str, Any] = {
    "tie_word_embeddings": True,
    "initializer_range": 0.5,  # or no factors would make it sure of anything
    "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 4,
}  # fmt: skip
TEMPLATE = "{% for m in messages %}{{ m['content'] + '\n' }}{% endfor %}"


@functools.lru_cache(maxsize=1)
def pretrained(model: str, dtype: torch.dtype, device: str) -> Weights:
    """The model of a name, for every policy of this process.

    Raises:
        DataUnavailable: it cannot be had, in one line that says what to do.
    """
    with available(model):
        module, tokenizer = module_of(model, dtype)
        return Weights.of(module.to(device), tokenizer)


@contextmanager
def available(model: str) -> Iterator[None]:
    """What is read of a model can be read.

    Raises:
        DataUnavailable: it cannot be had, in one line that says what to do.
    """
    try:
        import transformers  # noqa: PLC0415 - an extra
    except ImportError as error:
        msg = f"model '{model}' needs the package transformers ({error}); {EXTRA}"
        raise DataUnavailable(msg) from error
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError, ImportError, KeyError) as error:
        msg = f"model '{model}': {in_one_line(error)}; {REMEDY}"
        raise DataUnavailable(msg) from error


def module_of(model: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """The model of a name as Hugging Face has it, and its tokenizer, made anew."""
    return _random(dtype) if model == RANDOM else _read(str(place_of(model)), dtype)


def _read(place: str, dtype: torch.dtype) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 - an extra

    model = AutoModelForCausalLM.from_pretrained(place, dtype=dtype, attn_implementation="sdpa")
    return model, AutoTokenizer.from_pretrained(place)


def _random(dtype: torch.dtype) -> tuple[Any, Any]:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers  # noqa: PLC0415 - an extra
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM  # noqa: PLC0415 - an extra

    words = {word: i for i, word in enumerate(("<end>", "<unknown>", *CHARACTERS))}
    tokens = Tokenizer(models.WordLevel(words, unk_token="<unknown>"))  # noqa: S106 - no password
    tokens.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<end>", unk_token="<unknown>")  # noqa: S106
    tokenizer.chat_template = TEMPLATE
    state = torch.get_rng_state()
    try:
        torch.manual_seed(0)
        config = Qwen3Config(vocab_size=len(words), eos_token_id=0, bos_token_id=None, **SMALLEST)
        return Qwen3ForCausalLM(config).to(dtype), tokenizer
    finally:
        torch.set_rng_state(state)
