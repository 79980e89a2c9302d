"""Every named algorithm, one entry each, its source beside it.  A user's own takes one call of `register`.

Where a paper, its code and the libraries that took it up differ, the entry says which of them it is.

def advantage_over_best(groups):                         # which candidates gain mass
    return groups.reward - groups.reward.amax(-1, keepdim=True)

register(Algorithm("mine", credit=advantage_over_best, fit=policy_gradient, compares="candidates", paper="ours"))
"""

from __future__ import annotations

from functools import partial

from tpobench.algorithms.advantages import (
    accepted_minus_rejected,
    batch_scaled_reward,
    centered_reward,
    decoupled_advantage,
    failures,
    gae_advantage,
    greedy_advantage,
    leave_one_out_advantage,
    length_weighted_advantage,
    mean_scaled_reward,
    mixed_successes_and_failures,
    pass_at_k_advantage,
    sample_standardized_reward,
    successes,
    successes_and_failures,
    whitened_centered_reward,
    whitened_return,
)
from tpobench.algorithms.aggregation import constant_mean, informative_token_mean, sequence_mean, token_mean
from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.credit import (
    baseline_advantage,
    batch_standardized_reward,
    label_target,
    standardized_reward,
    standardized_score,
    tilted_target,
)
from tpobench.algorithms.densities import (
    exponential_weight,
    length_mean_target,
    listwise_density,
    relative_entropy_density,
    tilted_density,
    top_half_density,
)
from tpobench.algorithms.fit import (
    clipped_sequence_ratio,
    clipped_token_ratio,
    cross_entropy,
    delightful_gradient,
    length_mean_cross_entropy,
    policy_gradient,
)
from tpobench.algorithms.groups import has_reward_variance
from tpobench.algorithms.modifiers import LARGEST_COVARIANCE, MODIFIERS
from tpobench.algorithms.parts import parts_of, put_together
from tpobench.algorithms.ratios import (
    capped_weight,
    clipped_geometric_ratio,
    clipped_mean_ratio,
    clipped_with_reference_kl,
    gamma_weight,
    soft_gate,
    surrogate,
    surrogate_with_selected_kl,
    tapered_weight,
    trust_masked_weight,
)
from tpobench.algorithms.regressions import (
    desirable_or_not,
    likelihood_and_kl,
    list_divergence,
    mean_regression,
    mirror_descent,
    preferred,
    prospect,
    quadratic_trust,
    reward_regression,
    sigmoid_preference,
    squared_preference,
)
from tpobench.algorithms.trust_region import trust_region_step
from tpobench.errors import UsageError, unknown

TPO = "arXiv 2604.06159"
NEEDS_REF = frozenset({"ref_logp"})
Group = partial(Algorithm, compares="draws")  # of several draws in a context
Centered = partial(Group, zero_gradient_on_flat="always")  # and groups of equal rewards say nothing, wherever pi is
Anchored = partial(Group, zero_gradient_on_flat="at_snapshot")  # nor do they at the snapshot
OnPolicy = partial(Centered, fit=policy_gradient, max_epochs=1)  # no ratio: a batch is used once


class Catalog(dict[str, Algorithm]):
    """Algorithms by name; `tpo+icepop` and `loo-clipped` are made when asked for, and are not among the names."""

    def __missing__(self, name: str) -> Algorithm:
        plain, *modifiers = name.split("+")
        if not modifiers:
            return put_together(name)
        if plain not in self or not MODIFIERS.keys() >= set(modifiers):
            raise KeyError(name)
        return self[plain].modified(*(MODIFIERS[m] for m in modifiers))

    def __contains__(self, name: object) -> bool:
        plain, *modifiers = str(name).split("+")
        known = super().__contains__(plain) or bool(parts_of(plain))
        return known and MODIFIERS.keys() >= set(modifiers)


FAMILIES: dict[str, tuple[Algorithm, ...]] = {
    "target": (
        Algorithm(
            "tpo",
            tilted_target,
            cross_entropy,
            compares="candidates",
            zero_gradient_on_flat="at_snapshot",
            credit_is="target",
            paper=f"{TPO}, section 2",
        ),
        Algorithm(
            "tpo_token",
            tilted_target,
            cross_entropy,
            compares="candidates",
            unit="token",
            zero_gradient_on_flat="at_snapshot",
            credit_is="target",
            paper=f"{TPO}, section 3.4: groups of next tokens",
        ),
        Algorithm(
            "tpo_no_anchor",
            tilted_target,
            cross_entropy,
            compares="candidates",
            hyper={"anchor": False},
            credit_is="target",
            paper=f"{TPO}, section 3.6: target without p_old",
        ),
        Algorithm(
            "group_pg",
            standardized_score,
            policy_gradient,
            compares="candidates",
            zero_gradient_on_flat="always",
            paper=f"{TPO}, section 3.6: TPO's scores, policy-gradient fit",
        ),
        Algorithm(
            "tpo_length_norm",
            length_mean_target,
            length_mean_cross_entropy,
            compares="candidates",
            zero_gradient_on_flat="at_snapshot",
            credit_is="target",
            paper=f"{TPO}, the author's TRL branch: mean token log-probs in target and policy",
        ),
        Anchored(
            "lpo_fwd",
            listwise_density,
            list_divergence,
            credit_is="density",
            paper="arXiv 2605.06139, forward KL, tau = group std",
        ),
        Anchored(
            "lpo_rev",
            listwise_density,
            list_divergence,
            hyper={"reverse": True},
            credit_is="density",
            paper="arXiv 2605.06139, reverse KL, tau = group std",
        ),
    ),
    "grpo": (
        Algorithm(
            "grpo",
            standardized_reward,
            clipped_sequence_ratio,
            compares="draws",
            zero_gradient_on_flat="at_snapshot",
            paper=f"arXiv 2402.03300, eq. 3, as in {TPO}, appendix F: sequence ratio, KL to the snapshot",
        ),
        Algorithm(
            "grpo_token",
            standardized_reward,
            clipped_sequence_ratio,
            compares="draws",
            unit="token",
            zero_gradient_on_flat="at_snapshot",
            paper=f"arXiv 2402.03300, eq. 3, over next tokens; {TPO}, section 3.4",
        ),
        Algorithm(
            "grpo_batch",
            batch_standardized_reward,
            policy_gradient,
            max_epochs=1,
            paper=f"{TPO}, section 3.3 and appendix C: one draw per context, rewards standardised over the batch",
        ),
        Algorithm(
            "grpo_no_kl",
            standardized_reward,
            clipped_sequence_ratio,
            compares="draws",
            zero_gradient_on_flat="always",
            hyper={"kl": 0.0},
            paper=f"arXiv 2402.03300, eq. 3 with beta = 0; {TPO}, section 3.6",
        ),
        Algorithm(
            "grpo_masked",
            standardized_reward,
            clipped_sequence_ratio,
            compares="draws",
            keep=has_reward_variance,
            zero_gradient_on_flat="always",
            paper=f"arXiv 2402.03300, eq. 3, groups of equal rewards left out, KL included; {TPO}, section 4",
        ),
        Centered(
            "grpo_token_ratio",
            sequence_mean(sample_standardized_reward),
            clipped_token_ratio,
            paper="arXiv 2402.03300, eq. 3 with beta = 0: token ratio, mean over the tokens of an answer",
        ),
        Centered(
            "grpo_trl",
            token_mean(sample_standardized_reward),
            clipped_token_ratio,
            paper="arXiv 2402.03300 as TRL runs it: sample std, mean over the batch's tokens, no KL",
            default_of="TRL 1.16",
        ),
        Centered(
            "grpo_verl",
            token_mean(sample_standardized_reward),
            clipped_token_ratio,
            hyper={"epsilon": 1e-6, "dual_clip": 3.0},
            paper="arXiv 2402.03300 as verl runs it (HybridFlow, arXiv 2409.19256): as grpo_trl, with a dual clip",
            default_of="verl 0.9",
        ),
        Group(
            "grpo_deepseek",
            sample_standardized_reward,
            clipped_with_reference_kl,
            needs=NEEDS_REF,
            paper="arXiv 2402.03300, eq. 3: token ratio, KL .04 to the untrained policy",
        ),
        Centered(
            "dr_grpo",
            constant_mean(centered_reward),
            clipped_token_ratio,
            paper="arXiv 2503.20783: no std, and a constant length",
        ),
        Centered(
            "dapo",
            informative_token_mean(sample_standardized_reward),
            clipped_token_ratio,
            hyper={"clip_high": 0.28},
            paper="arXiv 2503.14476, groups of equal rewards left out and not drawn again",
        ),
        Centered("lite_ppo", token_mean(batch_scaled_reward), clipped_token_ratio, paper="arXiv 2508.08221"),
        Centered(
            "rloo_clipped",
            leave_one_out_advantage,
            clipped_sequence_ratio,
            hyper={"kl": 0.0},
            paper="arXiv 2402.14740 as TRL's RLOOTrainer: ratio of whole answers, clipped",
        ),
        Group(
            "gdpo",
            sequence_mean(decoupled_advantage),
            clipped_token_ratio,
            needs=frozenset({"rewards"}),
            paper="arXiv 2601.05242: rewards standardised one by one, their sum over the batch",
        ),
        Centered(
            "mt_grpo",
            sequence_mean(sample_standardized_reward),
            clipped_token_ratio,
            modifiers=(MODIFIERS["tasks"],),
            needs=frozenset({"task_index"}),
            paper="arXiv 2602.05547: weights of tasks from their improvement, without its sampler",
        ),
    ),
    "ratio": (
        Centered("gspo", sample_standardized_reward, clipped_mean_ratio, paper="arXiv 2507.18071"),
        Centered(
            "luspo",
            sample_standardized_reward,
            clipped_mean_ratio,
            hyper={"clip": 0.1, "clip_high": 0.15, "by_length": True},
            paper="arXiv 2602.05261: gspo times the length",
        ),
        Centered("gmpo", sample_standardized_reward, clipped_geometric_ratio, paper="arXiv 2507.20673"),
        Centered(
            "cispo",
            token_mean(sample_standardized_reward),
            capped_weight,
            paper="arXiv 2506.13585, the cap an absolute ratio as in TRL",
        ),
        Centered(
            "cispo_scalerl",
            sequence_mean(batch_scaled_reward),
            capped_weight,
            paper="arXiv 2510.13786: cispo with the batch's std and the mean over each answer",
        ),
        Centered("sapo", sequence_mean(sample_standardized_reward), soft_gate, paper="arXiv 2511.20347"),
        Centered(
            "vespo",
            token_mean(sample_standardized_reward),
            gamma_weight,
            paper="arXiv 2602.10693 with the defaults of its code",
        ),
        Centered(
            "dppo_tv",
            token_mean(sample_standardized_reward),
            trust_masked_weight,
            paper="arXiv 2602.04879, total variation",
        ),
        Anchored(
            "prime_rl",
            token_mean(centered_reward),
            trust_masked_weight,
            hyper={"k2": 1e-3, "cap": 1e6},
            paper="arXiv 2602.04879 as prime-rl runs it: no std, squared log-ratio .001",
            default_of="prime-rl",
        ),
        Group("topr", successes_and_failures, tapered_weight, paper="arXiv 2503.14286"),
        Centered(
            "clip_cov",
            token_mean(sample_standardized_reward),
            clipped_token_ratio,
            modifiers=(MODIFIERS["clip_cov"],),
            needs=frozenset({"uniform"}),
            paper="arXiv 2505.22617, tokens picked once per batch",
        ),
        Anchored(
            "kl_cov",
            token_mean(sample_standardized_reward),
            surrogate_with_selected_kl,
            modifiers=(LARGEST_COVARIANCE,),
            paper="arXiv 2505.22617, tokens picked once per batch",
        ),
    ),
    "ppo": (
        Algorithm("ppo", baseline_advantage, clipped_token_ratio, paper="arXiv 1707.06347, eq. 7, without a critic"),
        Algorithm(
            "ppo_gae",
            token_mean(gae_advantage),
            clipped_token_ratio,
            needs=NEEDS_REF | {"value"},
            hyper={"kl": 0.005},
            paper="arXiv 2411.15124, RLVR: PPO with a critic; its KL of .05 on rewards of 10 is .005 on rewards of 1",
        ),
        Algorithm(
            "openrlhf",
            token_mean(gae_advantage),
            clipped_token_ratio,
            needs=NEEDS_REF | {"value"},
            hyper={"lam": 1.0, "kl": 0.01, "correction": False},
            paper="arXiv 1707.06347 as OpenRLHF runs it (arXiv 2405.11143): a critic, lam 1, KL .01 in the reward",
            default_of="OpenRLHF 0.11",
        ),
        Algorithm(
            "trpo",
            baseline_advantage,
            surrogate,
            max_epochs=1,
            step=trust_region_step,
            paper="arXiv 1502.05477, appendix C, without a critic; its step has a length of its own",
        ),
        Algorithm(
            "reinforce_pp",
            token_mean(whitened_return),
            clipped_token_ratio,
            needs=NEEDS_REF,
            paper="arXiv 2501.03262: KL .01 to the untrained policy in the reward, advantages over the batch",
        ),
        Group(
            "reinforce_pp_baseline",
            token_mean(whitened_centered_reward),
            clipped_token_ratio,
            paper="arXiv 2501.03262: group mean first, without its KL",
        ),
    ),
    "dg": (
        Algorithm("dg", baseline_advantage, delightful_gradient, max_epochs=1, paper="arXiv 2603.14608"),
        Algorithm(
            "dg_multi_epoch",
            baseline_advantage,
            delightful_gradient,
            paper=f"arXiv 2603.14608, a batch used for several epochs; {TPO}, appendix E",
        ),
        Centered(
            "dg_group",
            sample_standardized_reward,
            delightful_gradient,
            max_epochs=1,
            paper="arXiv 2603.14608, the gate on group z-scores",
        ),
    ),
    "reinforce": (
        Algorithm(
            "reinforce",
            baseline_advantage,
            policy_gradient,
            max_epochs=1,
            paper="Williams 1992, Machine Learning 8",
        ),
        OnPolicy("rloo", leave_one_out_advantage, paper="arXiv 2402.14740"),
        Algorithm(
            "remax",
            token_mean(greedy_advantage),
            policy_gradient,
            max_epochs=1,
            needs=frozenset({"greedy_reward"}),
            paper="arXiv 2310.10505, without a KL; the greedy answer is one more interaction",
        ),
        OnPolicy("opo", length_weighted_advantage, paper="arXiv 2505.23585"),
        OnPolicy("maxrl", mean_scaled_reward, paper="arXiv 2602.02710 with its control variate"),
        OnPolicy("grpo_passk", pass_at_k_advantage, paper="arXiv 2503.19595 as verl's grpo_passk"),
        Group(
            "raft",
            successes,
            policy_gradient,
            max_epochs=1,
            paper="arXiv 2304.06767, successes as in 2504.11343, averaged over all draws",
        ),
        OnPolicy("reinforce_rej", mixed_successes_and_failures, paper="arXiv 2504.11343"),
        Group("nsr", failures, policy_gradient, max_epochs=1, paper="arXiv 2506.01347, failures only"),
        Group(
            "w_reinforce",
            successes_and_failures,
            policy_gradient,
            max_epochs=1,
            hyper={"positive": 0.1},
            paper="arXiv 2506.01347, successes weighted by .1",
        ),
    ),
    "regression": (
        Anchored(
            "mdpo",
            centered_reward,
            mirror_descent,
            needs=frozenset({"progress"}),
            paper="arXiv 2005.09814, the KL sampled from the snapshot, t annealed from 1 to 0",
        ),
        Anchored(
            "rebel",
            centered_reward,
            reward_regression,
            paper="arXiv 2404.16767 over all pairs of a group, eta = 1",
        ),
        Anchored(
            "gvpo",
            centered_reward,
            reward_regression,
            hyper={"beta": 0.1, "scale": 0.5},
            paper="arXiv 2504.19599",
        ),
        Anchored(
            "pmd_mean",
            centered_reward,
            mean_regression,
            paper="arXiv 2501.12599 (Kimi k1.5), over the length",
        ),
        Anchored(
            "dro",
            sequence_mean(centered_reward),
            quadratic_trust,
            paper="arXiv 2405.19107 as verl runs it",
        ),
    ),
    "weighted": (
        Group(
            "awr",
            exponential_weight,
            policy_gradient,
            credit_is="density",
            paper="arXiv 1910.00177, the group mean in place of the critic, advantages standardised over the batch",
        ),
        Group(
            "mpo",
            tilted_density,
            policy_gradient,
            credit_is="density",
            paper="arXiv 1806.06920, E-step over draws, eta fixed",
        ),
        Group(
            "vmpo",
            top_half_density,
            policy_gradient,
            credit_is="density",
            paper="arXiv 1909.12238, eta fixed, no critic",
        ),
        Group(
            "reps",
            relative_entropy_density,
            policy_gradient,
            credit_is="density",
            paper="Peters 2010, AAAI 24, group mean in place of the critic",
        ),
        Group(
            "pmpo",
            accepted_minus_rejected,
            likelihood_and_kl,
            paper="arXiv 2410.04166, KL to the snapshot",
        ),
    ),
    "preference": (
        Centered(
            "dpo_online",
            preferred,
            sigmoid_preference,
            credit_is="pairs",
            needs=NEEDS_REF,
            paper="arXiv 2305.18290, all pairs of a group, mean over the contexts that have pairs",
        ),
        Centered(
            "ipo_online",
            preferred,
            squared_preference,
            credit_is="pairs",
            needs=NEEDS_REF,
            paper="arXiv 2310.12036, pairs as in dpo_online",
        ),
        Centered(
            "kto_online",
            desirable_or_not,
            prospect,
            needs=NEEDS_REF,
            paper="arXiv 2402.01306, above the group mean desirable, z fixed",
        ),
    ),
    "oracle": (
        Algorithm(
            "ce",
            label_target,
            cross_entropy,
            compares="candidates",
            needs=frozenset({"label"}),
            credit_is="target",
            paper=f"{TPO}, section 3.2: the supervised oracle",
        ),
    ),
}

FAMILY_OF = {a.name: family for family, members in FAMILIES.items() for a in members}
BUILT_IN = tuple(FAMILY_OF)
ALGORITHMS: dict[str, Algorithm] = Catalog((a.name, a) for members in FAMILIES.values() for a in members)


def base(name: str) -> str:
    """The algorithm that modifiers are put on: `tpo` of `tpo+icepop`."""
    return name.partition("+")[0]


def packaged(name: str) -> bool:
    """Whether an algorithm is made of this package alone, modified or put together from parts too."""
    return base(name) in FAMILY_OF or bool(parts_of(name))


def family_of(name: str) -> str:
    """The family of an algorithm, also of a modified one; `own` of a user's."""
    return FAMILY_OF.get(base(name), "own")


OWN = "one of your own comes with --plugin FILE.py"


def require_algorithm(name: str, where: str = "", *, remedy: str = OWN) -> Algorithm:
    """The algorithm of a name, modified or not.

    Raises:
        UsageError: there is none, or it does not admit its modifiers.
    """
    plain, *modifiers = name.split("+")
    if plain not in ALGORITHMS:
        raise unknown("algorithm", plain, ALGORITHMS, where, remedy=remedy)
    for modifier in modifiers:
        if modifier not in MODIFIERS:
            raise unknown("modifier", modifier, MODIFIERS, where)
    return ALGORITHMS[name]


def register(algorithm: Algorithm) -> Algorithm:
    """Add an algorithm to ALGORITHMS.

    Raises:
        UsageError: another algorithm has this name, or it is that of a modified one.
    """
    if "+" in algorithm.name and base(algorithm.name) in ALGORITHMS:
        msg = f"algorithm '{algorithm.name}': a + puts modifiers on an algorithm; give yours a name without it"
        raise UsageError(msg)
    if parts_of(algorithm.name):
        msg = f"algorithm '{algorithm.name}' is the name of a credit and a fit put together; give yours another"
        raise UsageError(msg)
    if ALGORITHMS.get(algorithm.name, algorithm) is not algorithm:
        msg = f"algorithm '{algorithm.name}' exists already; give yours another name"
        raise UsageError(msg)
    ALGORITHMS[algorithm.name] = algorithm
    return algorithm
