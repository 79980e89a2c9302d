"""A small random model, and TRL's trainer on it; run as a program it is one rank of several.

python tests/trl_helpers.py OUT.pt '{"algorithm": "tpo", "per_device_train_batch_size": 4, ...}'
"""
# ruff: noqa: S106 - tokens of a vocabulary are no passwords

import json
import sys
import tempfile
import warnings

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM, TrainerCallback
from trl import GRPOConfig

from tpobench.engines.trl import GroupTrainer

PROMPT_TEXTS = ["a b c", "d e", "f g h i", "j"]
WORDS = ["<pad>", "<end>", *"abcdefghijklmnop"]
K, PROMPTS = 4, 2


def tokenizer():
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<end>")


def model():
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=64, initializer_range=0.2,
        pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return Qwen3ForCausalLM(config)


def completion(prompt, k):
    """The k-th answer to a prompt, of 1 to 6 tokens."""
    rng = torch.Generator().manual_seed(1000 * sum(map(ord, prompt)) + k)
    length = int(torch.randint(1, 7, (), generator=rng))
    return [*torch.randint(2, len(WORDS), (length,), generator=rng).tolist(), 1][:6]


def rollout(prompts, trainer):
    """The same answers however the prompts are dealt to ranks."""
    first = trainer.accelerator.process_index * len(prompts)
    ids = trainer.processing_class(prompts)["input_ids"]
    completions = [completion(p, (first + i) % K) for i, p in enumerate(prompts)]
    return {"prompt_ids": ids, "completion_ids": completions, "logprobs": None}


def reward(completions, **_):
    """The share of early letters."""
    return [sum(word < "h" for word in text.split()) / 6 for text in completions]


class Gradients(TrainerCallback):
    """Parameters and gradient of every optimizer step, and what was logged."""

    def __init__(self) -> None:
        self.steps, self.weights, self.logs = [], [], []

    def on_pre_optimizer_step(self, *_, model=None, **__):
        trained_ones = [p for p in model.parameters() if p.requires_grad]
        self.steps.append(torch.cat([p.grad.flatten() for p in trained_ones]))
        self.weights.append({name: p.detach().clone() for name, p in model.named_parameters()})

    def on_log(self, *_, logs=None, **__):
        self.logs.append(dict(logs))

    @property
    def losses(self):
        return [log["loss"] for log in self.logs if "loss" in log]


def trained(algorithm="tpo", fixed=True, peft=None, prompts=PROMPT_TEXTS, kl=0.0, **config):
    """The trainer after its run, and what its callback saw."""
    seen = Gradients()
    chosen = {
        "per_device_train_batch_size": PROMPTS * K, "num_generations": K, "max_completion_length": 6, "max_steps": 2,
        "learning_rate": 1e-2, "beta": 0.0, "max_grad_norm": 1e9, "lr_scheduler_type": "constant",
        "shuffle_dataset": False, "seed": 3, **config,
    }  # fmt: skip
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        args = GRPOConfig(
            folder, use_cpu=True, bf16=False, gradient_checkpointing=False, report_to=[], logging_steps=1,
            save_strategy="no", disable_tqdm=True, **chosen,
        )  # fmt: skip
        made = GroupTrainer(
            model(), reward, args, Dataset.from_dict({"prompt": prompts}),
            processing_class=tokenizer(), callbacks=[seen], rollout_func=rollout if fixed else None,
            peft_config=peft, algorithm=algorithm, kl=kl,
        )  # fmt: skip
        made.train()
    return made, seen


def main():
    """One rank; the first writes its gradients and losses."""
    out, options = sys.argv[1], json.loads(sys.argv[2])
    made, seen = trained(**options)
    if made.accelerator.is_main_process:
        torch.save({"gradients": torch.stack(seen.steps), "losses": seen.losses}, out)


if __name__ == "__main__":
    main()
