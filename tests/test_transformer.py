"""The transformer, its losses, gradients and Muon steps reproduce the reference's recorded float64 replay."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tpobench.algorithms.catalog import ALGORITHMS
from tpobench.policies.noise import Noise
from tpobench.policies.prefix_tree import build_paths, pack
from tpobench.policies.transformer import TransformerPolicy, layout
from tpobench.tasks.catalog import SequenceSettings
from tpobench.tasks.sequence import Inputs, SequenceTask
from tpobench.tasks.task import Rollout
from tpobench.training.loop import loss_gradient, make_optimizer

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

from flax_arrays import flax_arrays

REPLAY = np.load(Path(__file__).parent / "extracts" / "transformer_replay.npz")
SAMPLES = 64
MODELS = {"V2H5": (2, 5)}
SINGLE = ("reinforce", "dg", "ppo")
# The reference sums over K for these; the catalogue averages, so losses and gradients differ by the factor K.
SUMS_OVER_K = ("grpo", "grpo_no_kl", "group_pg")
CASES = [("V2H5", a) for a in (*SINGLE, "tpo", "tpo_no_anchor", "grpo", "grpo_no_kl", "group_pg")]


def replayed_policy(model):
    """The reference's initial parameters as a policy of one seed."""
    V, H = MODELS[model]
    size = sum(torch.Size(p.shape).numel() for p in layout(V, H))
    policy = TransformerPolicy(torch.zeros(1, size, dtype=torch.float64), V, H)
    with torch.no_grad():
        for name, view in flax_arrays(policy.at).items():
            view.copy_(torch.from_numpy(REPLAY[f"{model}/init/{name}"]))
    return policy


def replayed_batch(model, *, single):
    """The recorded batch as a rollout: terminal reward for grouped rules, candidate 0 and bag reward otherwise."""
    V, H = MODELS[model]
    K = slice(0, 1) if single else slice(None)
    prompts = torch.from_numpy(REPLAY[f"{model}/prompts"].astype(np.int64))[None]
    actions = torch.from_numpy(REPLAY[f"{model}/actions"].astype(np.int64))[None, :, K]
    old = torch.from_numpy(REPLAY[f"{model}/old_tok_lp"])[None, :, K]
    reward = "bag_of_tokens" if single else "terminal"
    settings = SequenceSettings(V, H, reward=reward, prompts=prompts.shape[1], candidates=actions.shape[2])
    task = SequenceTask(settings, Noise("test", "", (0,), dtype=torch.float64))
    inputs = Inputs(build_paths(prompts.numpy(), actions.numpy(), V))
    return task, Rollout(task.score(prompts, actions, old), inputs, interactions=0)


def sampled(x):
    flat = x.reshape(-1)
    index = np.unique(np.linspace(0, len(flat) - 1, SAMPLES).astype(int))
    return np.append(flat[index].numpy(), flat.norm().item())


def compare(expected_prefix, at, *, scale=1.0):
    """Every array but the key biases (their true gradient is 0: rounding noise there)."""
    for name, actual in flax_arrays(at).items():
        if name.endswith("key.bias"):
            continue
        np.testing.assert_allclose(
            sampled(actual.contiguous()) * scale,
            REPLAY[f"{expected_prefix}/{name}"],
            rtol=1e-6,
            atol=1e-9,
            err_msg=name,
        )


def test_forward_pass():
    """log pi of every next token of whole sequences equals the reference's to 1e-9."""
    model = "V2H5"
    V, H = MODELS[model]
    tokens = REPLAY[f"{model}/tokens"].astype(np.int64)
    policy = replayed_policy(model)
    paths = build_paths(tokens[None, :, :H], tokens[None, :, None, H:], V)
    tree = pack(paths, V, dtype=torch.float64)
    logp = policy.log_prob_table(tree).gather(1, tree.index).view(tree.shape)[0, :, 0]
    expected = np.take_along_axis(REPLAY[f"{model}/log_probs"][:, H - 1 : -1], tokens[:, H:, None], -1)[..., 0]
    np.testing.assert_allclose(logp.detach().numpy(), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_recomputed_log_probs_of_the_batch(model):
    """The packed tree gives every candidate its own log-probs, shared prefixes and duplicates included."""
    task, rollout = replayed_batch(model, single=False)
    logp = task.logp(replayed_policy(model), rollout, None)[0].detach().numpy()
    np.testing.assert_allclose(logp, REPLAY[f"{model}/recomputed_tok_lp"], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("model", "name"), CASES)
def test_loss_gradient_and_muon_steps(model, name):
    """Loss before each of four epochs and after them, the first gradient, and parameters after one and four steps."""
    algorithm = ALGORITHMS[name]
    task, rollout = replayed_batch(model, single=name in SINGLE)
    K = rollout.groups.reward.shape[-1]
    policy = replayed_policy(model)
    optimizer = make_optimizer("muon", 1e-3, policy)
    credit = algorithm.credit_for(rollout.groups)
    losses = []
    for epoch in range(5):
        with torch.no_grad():
            losses.append(algorithm.loss(task.logp(policy, rollout, None), rollout.groups, credit).mean().item())
        if epoch == 4:
            break
        gradient = loss_gradient(task, policy, algorithm, rollout, credit, at_snapshot=epoch == 0)
        scale = K if name in SUMS_OVER_K else 1
        if epoch == 0 and f"{model}/{name}/grad0/pos_emb" in REPLAY:
            compare(f"{model}/{name}/grad0", dict(zip(policy.at, gradient, strict=True)), scale=scale)
        flat = torch.cat([scale * g.flatten(1) for g in gradient], dim=1)
        optimizer.step(policy.theta, flat)
        if f"{model}/{name}/params_after_{epoch + 1}/pos_emb" in REPLAY:
            compare(f"{model}/{name}/params_after_{epoch + 1}", policy.at)
    expected = REPLAY[f"{model}/{name}/loss_per_epoch"]
    np.testing.assert_allclose(np.array(losses) * scale, expected, rtol=1e-6, atol=1e-9)
