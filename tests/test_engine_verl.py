"""The algorithms of the catalogue in verl's registries, where verl is installed."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("verl")
pytest.importorskip("transfer_queue")

with warnings.catch_warnings():  # of verl's own imports
    warnings.simplefilter("ignore")
    from hydra import compose, initialize_config_dir
    from verl import DataProto
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn, get_policy_loss_fn
    from verl.trainer.ppo.metric_utils import process_validation_metrics
    from verl.trainer.ppo.reward import load_reward_manager
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.trainer.ppo.v1 import get_trainer_cls
    from verl.utils.config import omega_conf_to_dataclass, validate_config
    from verl.utils.tracking import Tracking
    from verl.workers.config import ActorConfig

    from tpobench.engines.verl import CREDIT, EXACT, KL, SNAPSHOT, answers_of

from recipe_helpers import started, words

from tpobench.algorithms.catalog import ALGORITHMS, BUILT_IN
from tpobench.engines.answers import VERL_OFFERS, Update, by_row, why_not
from tpobench.errors import UsageError
from tpobench.records.results import load_results

pytestmark = [pytest.mark.filterwarnings("ignore")]
N, T = 12, 5
SERVED = [n for n in BUILT_IN if not why_not(ALGORITHMS[n], VERL_OFFERS)]
BY_ROW = [n for n in SERVED if by_row(ALGORITHMS[n])]


def batch():
    """Rewards at the last token, the mask, uids in no order, and log-probs."""
    rng = torch.Generator().manual_seed(0)
    length = 1 + torch.randint(T, (N, 1), generator=rng)
    mask = (torch.arange(T) < length).double()
    rewards = (torch.arange(T) == length - 1) * torch.rand(N, 1, generator=rng, dtype=torch.float64)
    uid = ["c", "a", "b", "a", "c", "b", "b", "a", "c", "c", "b", "a"]
    old, ref, sampled = -2 * torch.rand(3, N, T, generator=rng, dtype=torch.float64)
    snapshot = {"old_log_probs": old, "ref_log_prob": ref, "rollout_log_probs": sampled}
    return rewards, mask, uid, snapshot, old + 0.3 * torch.randn(N, T, generator=rng, dtype=torch.float64)


def gradient_of(mode, agg, old, logp, advantages, mask):
    """Of verl's loss of that mode over two ranks of two micro-batches of three answers in another order."""
    config = ActorConfig(strategy="fsdp", rollout_n=4, ppo_micro_batch_size_per_gpu=3)
    config.global_batch_info.update(dp_size=2, batch_num_tokens=int(mask.sum()), global_batch_size=N)
    leaf, order = logp.clone().requires_grad_(), torch.randperm(N, generator=torch.Generator().manual_seed(1))
    loss = sum(
        get_policy_loss_fn(mode)(
            old_log_prob=old[rows], log_prob=leaf[rows], advantages=advantages[rows], response_mask=mask[rows],
            loss_agg_mode=agg, config=config,
        )[0]
        for rows in order.split(3)
    ) / 2  # gradients of ranks are averaged  # fmt: skip
    return torch.autograd.grad(loss, leaf)[0]


@pytest.mark.parametrize("name", SERVED)
def test_verls_own_gradient_is_the_algorithms_at_the_snapshot(name):
    """-N dL/dlogp as the advantage of verl's `gpg`: equal to 1e-9 under any order, micro-batches and ranks."""
    rewards, mask, uid, snapshot, _ = batch()
    answers = answers_of(rewards, mask, uid, snapshot)
    _, expected = Update(ALGORITHMS[name], answers).gradient(answers.old_logp)
    token = SNAPSHOT.set(snapshot)
    try:
        A, _ = get_adv_estimator_fn(f"{EXACT}{name}")(token_level_rewards=rewards, response_mask=mask, index=uid)
    finally:
        SNAPSHOT.reset(token)
    old = snapshot["old_log_probs"]
    actual = gradient_of("gpg", "seq-mean-token-sum", old, old, A, mask)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


def test_the_kl_to_the_reference_is_part_of_the_advantage():
    """As the built-in loop has it, where verl has computed the reference."""
    rewards, mask, uid, snapshot, _ = batch()
    answers = answers_of(rewards, mask, uid, snapshot)
    _, expected = Update(ALGORITHMS["tpo"], answers, kl=0.1).gradient(answers.old_logp)
    tokens = SNAPSHOT.set(snapshot), KL.set(0.1)
    try:
        A, _ = get_adv_estimator_fn("tpobench-tpo")(token_level_rewards=rewards, response_mask=mask, index=uid)
    finally:
        SNAPSHOT.reset(tokens[0])
        KL.reset(tokens[1])
    torch.testing.assert_close(A, -N * expected * mask, rtol=1e-12, atol=1e-15)
    assert float((expected - Update(ALGORITHMS["tpo"], answers).gradient(answers.old_logp)[1]).norm()) > 1e-3


@pytest.mark.parametrize("name", BY_ROW)
def test_the_registered_loss_is_the_algorithms_off_the_snapshot(name):
    """The registered credit and fit, answer by answer, have the algorithm's gradient, to 1e-9."""
    rewards, mask, uid, snapshot, logp = batch()
    old = {"old_log_probs": snapshot["old_log_probs"]}
    _, expected = Update(ALGORITHMS[name], answers_of(rewards, mask, uid, old)).gradient(logp)
    A, _ = get_adv_estimator_fn(f"{CREDIT}{name}")(token_level_rewards=rewards, response_mask=mask, index=uid)
    actual = gradient_of(f"{EXACT}{name}", "token-mean", snapshot["old_log_probs"], logp, A, mask)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


def test_without_its_trainer_the_exact_route_says_what_is_missing():
    """An estimator of verl is handed no log-probs."""
    rewards, mask, uid, *_ = batch()
    with pytest.raises(UsageError, match=r"trainer\.v1\.trainer_mode=tpobench"):
        get_adv_estimator_fn("tpobench-tpo")(token_level_rewards=rewards, response_mask=mask, index=uid)


def recipe_by_verl(command_line):
    """The folder of a run of a recipe, and its configuration as verl composes it from what `run.sh` says."""
    changed = {
        "task.problems": "words", "task.model": "some/model", "task.largest": 9, "task.held_out": 4,
        "task.cut_counts": "false", "training.kl_reference": 0.001, "training.optimizer": "adamw",
        "training.weight_decay": 0.01, "training.max_grad_norm": 1.0,
    }  # fmt: skip
    assert command_line(*words("--out", "recipe", engine="verl", **changed))[0] == 0
    folder, run = Path("recipe").absolute(), "runs/tpo/seed_1"
    ((_, modules, command),) = started(folder, run, "--", "trainer.nnodes=2")
    assert (modules, command[:3]) == ("tpobench.engines.verl", ["-m", "verl.trainer.main_ppo", "--config-path"])
    with initialize_config_dir(command[3], version_base=None):
        return folder / run, compose(command[5], command[6:])


def test_the_configuration_of_a_recipe_is_one_of_verl(command_line):
    """verl composes it, finds nothing wrong with it, and makes of it what it hands to its workers."""
    _, config = recipe_by_verl(command_line)
    assert config.actor_rollout_ref.rollout.name == "vllm"
    config.actor_rollout_ref.rollout.name = "sglang"  # vLLM would be asked for its largest rank, and needs a GPU
    validate_config(config, need_reference_policy(config), need_critic(config))
    actor, rollout = (omega_conf_to_dataclass(config.actor_rollout_ref[part]) for part in ("actor", "rollout"))
    assert (actor.policy_loss.loss_mode, actor.loss_agg_mode, actor.optim.lr) == ("gpg", "seq-mean-token-sum", 0.1)
    assert (actor.ppo_mini_batch_size, actor.ppo_epochs, rollout.n, rollout.val_kwargs.n) == (4, 1, 32, 32)
    assert (actor.optim.weight_decay, actor.optim.clip_grad, actor.grad_clip) == (0.01, 1.0, 1.0)
    kl = config.trainer.v1.tpobench.kl_reference  # ours, for which verl computes the reference
    assert (kl, need_reference_policy(config), actor.kl_loss_coef) == (0.001, True, 0.0)
    assert get_adv_estimator_fn(config.algorithm.adv_estimator) is get_adv_estimator_fn("tpobench-tpo")
    assert get_trainer_cls(config.trainer.v1.trainer_mode).__name__ == "ExactTrainer"
    assert (config.data.seed, config.trainer.total_training_steps, config.trainer.nnodes) == (1, 3, 2)


class Characters:
    """A tokenizer whose tokens are characters, and 0 the end."""

    eos_token_id = 0

    def decode(self, ids, **_):
        return "".join(chr(i) for i in ids if i)


def test_verl_reads_the_problems_and_an_answer_that_was_cut_has_no_reward(command_line):
    """The reward that the configuration names: right, wrong, and right where the text ends by its length alone."""
    run, config = recipe_by_verl(command_line)
    config.data.max_response_length = 6
    manager = load_reward_manager(config, Characters())
    rows = [json.loads(line) for line in (run.parents[2] / "held_out.jsonl").read_text(encoding="utf-8").splitlines()]
    gold = json.loads(rows[0]["reward_model"]["ground_truth"])

    def reward(text, ended):
        ids = [*map(ord, text), *([0] if ended else [])]
        padded = torch.tensor([ids + [0] * (6 - len(ids))])
        attention = torch.tensor([[1, 1, *([1] * len(ids)), *([0] * (6 - len(ids)))]])
        data = DataProto.from_dict(
            {"responses": padded, "attention_mask": attention, "prompts": torch.ones(1, 2)},
            non_tensors={k: np.array([rows[0][k]], dtype=object) for k in ("data_source", "reward_model")},
        )
        result = manager.loop.run_until_complete(manager.run_single(data))
        return result["reward_score"], result["reward_extra_info"]["acc"]

    assert reward(gold, ended=True) == (1.0, 1.0)
    assert reward("no", ended=True) == (0.0, 0.0)
    assert reward(gold.rjust(6), ended=False) == (0.0, 0.0)


def test_what_verls_file_logger_writes_comes_back_as_records(command_line, monkeypatch):
    """Its own lines under its own names; of two logs of a run that went on the later one counts."""
    run, config = recipe_by_verl(command_line)
    problems, samples = "words", config.actor_rollout_ref.rollout.val_kwargs.n

    def validation(right):
        """As verl's trainer makes it of 4 problems."""
        acc = [1.0] * right + [0.0] * (4 * samples - right)
        uids = [str(i // samples) for i in range(4 * samples)]
        values = process_validation_metrics([problems] * len(uids), uids, {"acc": acc, "score": acc})[problems]
        return {f"val-{'core' if name == 'acc' else 'aux'}/{problems}/{name}/{metric}": value
                for name, metrics in values.items() for metric, value in metrics.items()}  # fmt: skip

    def trained(reward, loss=0.5):
        return {
            "actor/pg_loss": loss, "actor/entropy": 1.5, "actor/grad_norm": np.float32(2.0),
            "critic/score/mean": reward, "response_length/mean": 3.0,
            "response_length/clip_ratio": 0.25, "timing_s/step": 10.0,
        }  # fmt: skip

    def logged(name, *lines):
        monkeypatch.setenv("VERL_FILE_LOGGER_PATH", str(run / name))
        logger = Tracking("project", "experiment", ["file"])
        for step, data in lines:
            logger.log(data, step)
        logger.finish()

    logged("log-1.jsonl", (0, validation(16)), (1, trained(0.25) | validation(32)), (2, trained(9.0)))
    code, _, err = command_line("import", "recipe")
    assert code == 0
    assert "failed: tpo seed 1: the log ends after update 2 of 3" in err
    logged("log-2.jsonl", (2, trained(0.5) | validation(48)), (3, trained(np.float32(0.75)) | validation(64)))
    assert command_line("import", "recipe")[0] == 0
    (record,) = load_results("results").records
    assert record.curve["error"] == [1 - right / (4 * samples) for right in (16, 32, 48, 64)]
    assert record.curve["reward"] == [0.25, 0.5, 0.75, None]
    assert record.curve["clipped"] == [0.25, 0.25, 0.25, None]
    assert record.curve["tokens"] == [0, 384, 768, 1152]
    assert (record.status, record.cost["wall_s"], record.facts) == ("ok", 30.0, {"initial_success": 16 / (4 * samples)})
    logged("log-3.jsonl", (3, trained(float("nan"), loss=float("nan")) | validation(0)))
    code, _, err = command_line("import", "recipe")
    assert (code, "two different results of run" in err) == (6, True)
    assert command_line("import", "recipe", "--out", "anew")[0] == 0
    assert load_results("anew").records[0].status == "diverged"
