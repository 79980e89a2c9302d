"""TRL's trainer with the catalogue's losses, where TRL is installed: the extra `trl`."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("trl")
pytest.importorskip("peft")

from peft import LoraConfig
from torch.func import functional_call
from trl_helpers import PROMPT_TEXTS, PROMPTS, K, completion, model, reward, tokenizer, trained

from tpobench.algorithms.catalog import ALGORITHMS, BUILT_IN
from tpobench.algorithms.groups import CandidateGroups
from tpobench.engines.answers import ALWAYS
from tpobench.errors import UsageError
from tpobench.tasks.task import Rollout
from tpobench.training.loop import loss_gradient

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]
SPLIT = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}  # half a group in each micro-batch
SERVED = [n for n in BUILT_IN if (a := ALGORITHMS[n]).needs <= {"progress", "entropy"}
          and a.unit == "sequence" and a.step is None]  # fmt: skip


class BuiltIn:
    """The same model and answers as a task of the built-in loop, every answer padded to one shape."""

    def __init__(self, weights) -> None:
        self.network, self.weights, ids = model(), weights, tokenizer()
        self.parameters = [w.requires_grad_() for w in weights.values()]
        prompts = [p for p in PROMPT_TEXTS[:PROMPTS] for _ in range(K)]
        answers = [completion(p, i % K) for i, p in enumerate(prompts)]
        self.rows = [(ids(p)["input_ids"], a) for p, a in zip(prompts, answers, strict=True)]
        self.mask = torch.tensor([[t < len(a) for t in range(6)] for a in answers]).float().view(1, PROMPTS, K, 6)
        words = [ids.decode(a, skip_special_tokens=True) for a in answers]
        self.reward = torch.tensor(reward(words)).view(1, PROMPTS, K)

    def logp(self, policy, rollout, rows):  # noqa: ARG002 - Task protocol
        """One forward for each answer, with nothing but its own tokens."""
        every = []
        for prompt, answer in self.rows:
            logits = functional_call(self.network, self.weights, (torch.tensor([prompt + answer]),)).logits[0]
            logp = logits[len(prompt) - 1 : -1].log_softmax(-1).gather(1, torch.tensor(answer)[:, None])[:, 0]
            every.append(torch.nn.functional.pad(logp, (0, 6 - len(answer))))
        logp = torch.stack(every).view(1, PROMPTS, K, 6)
        return logp if rows is None else logp[:, rows]

    def rollout(self, old_logp, progress=0.0):
        """The groups of a snapshot."""
        groups = CandidateGroups(
            old_logp=old_logp.detach(), mask=self.mask, reward=self.reward,
            baseline=self.reward.mean((1, 2), keepdim=True), weight=torch.full_like(self.reward, 1 / K),
            score=self.reward, draws=K, progress=progress, entropy=torch.zeros_like(old_logp),
        )  # fmt: skip
        return Rollout(groups, None, PROMPTS * K)

    def gradient(self, algorithm, rollout):
        """Of the built-in loop, flat, and the loss."""
        groups = algorithm.prepare(rollout.groups, {})
        credit = algorithm.credit_for(groups)
        batch = Rollout(groups, None, 0)
        flat = torch.cat([g.flatten() for g in loss_gradient(self, self, algorithm, batch, credit, at_snapshot=False)])
        return flat, algorithm.loss(self.logp(None, None, None).detach(), groups, credit).mean()


@pytest.mark.parametrize("name", [n for n in SERVED if "entropy" not in ALGORITHMS[n].needs])
def test_a_step_is_that_of_the_built_in_loop(name):
    """Loss and gradient agree to 1e-5 and 1e-4, though TRL shuffles answers over micro-batches of half a group."""
    algorithm = ALGORITHMS[name]
    _, seen = trained(name, max_steps=1, **SPLIT)
    task = BuiltIn(seen.weights[0])
    gradient, loss = task.gradient(algorithm, task.rollout(task.logp(None, None, None)))
    assert float((seen.steps[0] - gradient).norm()) <= 1e-4 * float(gradient.norm()) + 1e-7
    assert seen.losses[0] == pytest.approx(float(loss), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", ["tpo", "grpo", "grpo_trl", "cispo", "gspo"])
def test_a_second_epoch_is_that_of_the_built_in_loop(name):
    """The gradient of the moved policy against the snapshot's log-probs, to 1e-5."""
    algorithm = ALGORITHMS[name]
    _, seen = trained(name, num_iterations=2, **SPLIT)
    old = BuiltIn(seen.weights[0]).logp(None, None, None)
    task = BuiltIn(seen.weights[1])
    gradient, loss = task.gradient(algorithm, task.rollout(old))
    assert float((seen.steps[1] - gradient).norm()) <= 1e-5 * float(gradient.norm())
    assert seen.losses[1] == pytest.approx(float(loss), rel=1e-5, abs=1e-6)


def test_what_is_sampled_is_shared_by_algorithms_and_changes_with_the_seed():
    """The first batches are equal token by token: only the update differs."""

    def sampled(name, seed=3):
        made, _ = trained(name, fixed=False, max_steps=1, seed=seed)
        batch = made._buffered_inputs[0]
        return batch["completion_ids"][batch["place"].argsort()].tolist()

    assert sampled("tpo") == sampled("reinforce") != sampled("tpo", seed=4)


def test_the_reference_is_the_model_without_its_adapter():
    """At the first step both are one, so that the KL of grpo_deepseek adds nothing to the loss of the clipped ratio."""
    lora = LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
    _, seen = trained("grpo_deepseek", peft=lora, max_steps=2, **SPLIT)
    _, plain = trained("grpo_token_ratio", peft=lora, max_steps=2, **SPLIT)
    torch.testing.assert_close(seen.steps[0], plain.steps[0], rtol=1e-4, atol=1e-6)
    assert float((seen.steps[1] - plain.steps[1]).norm()) > 1e-6


def test_the_kl_is_to_the_model_without_its_adapter():
    """At the first step it is 0 and has no gradient; at the second it pulls."""
    lora = LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
    (_, seen), (_, plain) = (trained(peft=lora, kl=kl, **SPLIT) for kl in (10.0, 0.0))
    torch.testing.assert_close(seen.steps[0], plain.steps[0], rtol=1e-4, atol=1e-6)
    assert seen.losses[1] > plain.losses[1] + 1e-6
    assert float((seen.steps[1] - plain.steps[1]).norm()) > 1e-6


def test_two_ranks_take_the_step_of_one(tmp_path):
    """Two gloo ranks whose micro-batches cut groups have the loss of one process to 1e-5, and its gradients to 1e-4."""
    out, helper = tmp_path / "both.pt", Path(__file__).with_name("trl_helpers.py")
    options = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    ranks = [
        subprocess.Popen(
            [sys.executable, helper, out, json.dumps(options)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    assert [rank.wait(600) for rank in ranks] == [0, 0]
    two = torch.load(out)
    _, one = trained("tpo")
    assert two["losses"] == pytest.approx(one.losses, rel=1e-5)
    for a, b in zip(two["gradients"], one.steps, strict=True):
        assert float((a - b).norm()) <= 1e-4 * float(b.norm())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"loss_type": "grpo"}, "loss_type='grpo' would change the algorithm's loss; leave it at 'dapo'"),
        ({"steps_per_generation": 2}, "cut a batch into several updates"),
        ({"algorithm": "remax"}, "needs greedy_reward"),
        ({"algorithm": "trpo"}, "a step of its own"),
        ({"algorithm": "grpo_deepseek"}, "needs ref_logp"),
        ({"kl": 0.1}, "kl=0.1 needs a reference"),
        ({"algorithm": "reinforce", "num_iterations": 2}, "uses a batch 1 time, not 2"),
    ],
)
def test_what_would_train_something_else_is_refused(options, said):
    """Before anything is loaded, in a line."""
    with pytest.raises(UsageError, match=said):
        trained(**options)


def test_what_the_engine_offers_is_what_groups_offer():
    """A check of this file: most of the catalogue is served."""
    assert len(SERVED) >= 40
    assert "candidates" in ALWAYS
