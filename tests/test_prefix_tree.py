"""Packed prefix trees compute every distinct prefix once and give every candidate exactly its own log-probs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tpobench.policies.noise import Noise
from tpobench.policies.prefix_tree import build_paths, choose_buckets, pack
from tpobench.policies.transformer import TransformerPolicy


def random_batch(S, B, K, H, V, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, V, (S, B, H)), rng.integers(0, V, (S, B, K, H))


def straightforward(policy, prompts, actions):
    """Log-probs from one full causal forward per candidate: a tree of one path per row, no sharing."""
    S, B, K, T = actions.shape
    out = torch.zeros(S, B, K, T, dtype=torch.float64)
    for b in range(B):
        for k in range(K):
            tree = pack(
                build_paths(prompts[:, b : b + 1], actions[:, b : b + 1, k : k + 1], policy.vocabulary),
                policy.vocabulary,
                dtype=torch.float64,
            )
            out[:, b, k] = policy.log_prob_table(tree).gather(1, tree.index).view(S, T)
    return out


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 2), st.integers(1, 6), st.integers(1, 5), st.integers(1, 4), st.integers(2, 3), st.integers(0, 99)
)
def test_sharing_prefixes_changes_no_log_prob(S, B, K, H, V, seed):
    """Whatever the shapes, duplicates of prompts and of candidates included."""
    prompts, actions = random_batch(S, B, K, H, V, seed)
    policy = TransformerPolicy.initial(Noise("t", "", tuple(range(S)), dtype=torch.float64), V, H)
    with torch.no_grad():
        tree = pack(build_paths(prompts, actions, V), V, dtype=torch.float64)
        shared = policy.log_prob_table(tree).gather(1, tree.index).view(tree.shape)
        np.testing.assert_allclose(shared, straightforward(policy, prompts, actions), rtol=0, atol=1e-12)


def test_every_distinct_prefix_is_one_node():
    """Prompt 01 with answers 000, 001, 011 has nodes 0 | 00, 01; the last token is never an input."""
    prompts = np.array([[[0, 1, 1], [0, 1, 1]]])
    actions = np.array([[[[0, 0, 0], [0, 0, 1]], [[0, 1, 1], [0, 1, 1]]]])
    paths = build_paths(prompts, actions, 2)
    assert len(paths.prompts) == 1
    assert list(zip(paths.depth, paths.parent, paths.token, strict=True)) == [(1, -1, 0), (2, 0, 0), (2, 0, 1)]
    assert pack(paths, 2).tokens == 3 + 3


def test_packing_some_contexts_equals_packing_all_and_selecting():
    """Skipped contexts leave the log-probs of the others as they were."""
    prompts, actions = random_batch(1, 8, 4, 4, 2)
    policy = TransformerPolicy.initial(Noise("t", "", (0,), dtype=torch.float64), 2, 4)
    paths = build_paths(prompts, actions, 2)
    with torch.no_grad():
        full = pack(paths, 2, dtype=torch.float64)
        part = pack(paths, 2, keep=np.array([1, 5]), dtype=torch.float64)
        every = policy.log_prob_table(full).gather(1, full.index).view(full.shape)
        some = policy.log_prob_table(part).gather(1, part.index).view(part.shape)
    np.testing.assert_allclose(some, every[:, [1, 5]], rtol=0, atol=1e-12)
    assert part.tokens < full.tokens


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([5] * 100, [5]),  # equal rows: one bucket
        ([5, 6], [6]),  # a second bucket costs more than the padding it saves
        ([2] * 100 + [60] * 100, [2, 60]),  # two sizes far apart: two buckets
    ],
)
def test_buckets_pay_for_themselves(nodes, expected):
    """Padded tokens plus a fixed cost per bucket are as few as possible."""
    assert choose_buckets(np.array(nodes), 10).tolist() == expected


def test_sampled_log_probs_are_those_of_the_full_forward_pass():
    """The cached rollout and the packed forward agree, and the tokens follow the given uniforms."""
    policy = TransformerPolicy.initial(Noise("t", "", (3, 4), dtype=torch.float64), 3, 4)
    prompts, _ = random_batch(2, 5, 1, 4, 3)
    uniform = torch.rand(2, 5, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    tokens, logp = policy.sample(torch.from_numpy(prompts), uniform)
    again, _ = policy.sample(torch.from_numpy(prompts), uniform[:, :, [2]])
    assert torch.equal(again[:, :, 0], tokens[:, :, 2])  # a candidate's sample does not depend on its company
    with torch.no_grad():
        tree = pack(build_paths(prompts, tokens.numpy(), 3), 3, dtype=torch.float64)
        full = policy.log_prob_table(tree).gather(1, tree.index).view(tree.shape)
    np.testing.assert_allclose(logp, full, rtol=0, atol=1e-12)


def test_a_branch_takes_its_cache_along_where_another_seed_has_none():
    """Seed 0 branches from two nodes to three, seed 1 has three all along: the grid of nodes keeps its width."""
    policy = TransformerPolicy.initial(Noise("t", "", (3, 4), dtype=torch.float64), 2, 2)
    prompts = torch.tensor([[[0, 0], [0, 0], [1, 1]], [[0, 0], [0, 1], [1, 1]]])
    uniform = torch.tensor([0.0, 0.999, 0.5], dtype=torch.float64).view(1, 3, 1, 1).expand(2, 3, 1, 2)
    tokens, logp = policy.sample(prompts, uniform)
    assert tokens[0, :2, 0, 0].tolist() == [0, 1]
    with torch.no_grad():
        tree = pack(build_paths(prompts.numpy(), tokens.numpy(), 2), 2, dtype=torch.float64)
        full = policy.log_prob_table(tree).gather(1, tree.index).view(tree.shape)
    np.testing.assert_allclose(logp, full, rtol=0, atol=1e-12)


def test_inverse_cdf_sampling_matches_the_policy():
    """Frequencies of first tokens over 20,000 uniforms equal the policy's probabilities within 4 standard errors."""
    policy = TransformerPolicy.initial(Noise("t", "", (0,), dtype=torch.float64), 3, 2)
    grid = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    uniform = torch.stack([grid, grid.flip(0)], -1).view(1, 1, 20000, 2)
    tokens, logp = policy.sample(torch.zeros(1, 1, 2, dtype=torch.int64), uniform)
    for v in range(3):
        chosen = tokens[0, 0, :, 0] == v
        p = logp[0, 0, chosen, 0].exp()[0]
        assert abs(chosen.double().mean() - p) < 1e-4  # a regular grid: at most one point off per boundary
