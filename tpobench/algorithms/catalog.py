"""Every named rule, one entry each, its paper beside it.  A user's own rule takes one call of `register`.

def advantage_over_best(groups):                         # which candidates gain mass
    return groups.reward - groups.reward.amax(-1, keepdim=True)

register(Algorithm("mine", credit=advantage_over_best, fit=policy_gradient, compares="candidates", paper="ours"))
"""

from __future__ import annotations

from tpobench.algorithms.algorithm import Algorithm
from tpobench.algorithms.credit import (
    baseline_advantage,
    batch_standardized_reward,
    label_target,
    standardized_reward,
    standardized_score,
    tilted_target,
)
from tpobench.algorithms.fit import (
    clipped_sequence_ratio,
    clipped_token_ratio,
    cross_entropy,
    delightful_gradient,
    policy_gradient,
)
from tpobench.algorithms.groups import has_reward_variance
from tpobench.errors import UsageError

TPO = "arXiv 2604.06159"

ALGORITHMS: dict[str, Algorithm] = {
    a.name: a
    for a in (
        Algorithm(
            "reinforce", baseline_advantage, policy_gradient, max_epochs=1, paper="Williams 1992, Machine Learning 8"
        ),
        Algorithm("ppo", baseline_advantage, clipped_token_ratio, paper="arXiv 1707.06347, eq. 7, without a critic"),
        Algorithm("dg", baseline_advantage, delightful_gradient, max_epochs=1, paper="arXiv 2603.14608"),
        Algorithm(
            "dg_multi_epoch",
            baseline_advantage,
            delightful_gradient,
            paper=f"arXiv 2603.14608, a batch used for several epochs; {TPO}, appendix E",
        ),
        Algorithm(
            "grpo",
            standardized_reward,
            clipped_sequence_ratio,
            compares="draws",
            zero_gradient_on_flat="at_snapshot",
            paper=f"arXiv 2402.03300, eq. 3, as in {TPO}, appendix F: sequence ratio, KL to the snapshot",
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
        Algorithm(
            "grpo_batch",
            batch_standardized_reward,
            policy_gradient,
            max_epochs=1,
            paper=f"{TPO}, section 3.3 and appendix C: one draw per context, rewards standardised over the batch",
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
            "tpo",
            tilted_target,
            cross_entropy,
            compares="candidates",
            zero_gradient_on_flat="at_snapshot",
            paper=f"{TPO}, section 2",
        ),
        Algorithm(
            "tpo_token",
            tilted_target,
            cross_entropy,
            compares="candidates",
            unit="token",
            zero_gradient_on_flat="at_snapshot",
            paper=f"{TPO}, section 3.4: groups of next tokens",
        ),
        Algorithm(
            "tpo_no_anchor",
            tilted_target,
            cross_entropy,
            compares="candidates",
            hyper={"anchor": False},
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
            "ce",
            label_target,
            cross_entropy,
            compares="candidates",
            needs=frozenset({"label"}),
            paper=f"{TPO}, section 3.2: the supervised oracle",
        ),
    )
}

BUILT_IN = frozenset(ALGORITHMS)


def register(algorithm: Algorithm) -> Algorithm:
    """Add a rule to ALGORITHMS.

    Raises:
        UsageError: another rule has this name.
    """
    if ALGORITHMS.get(algorithm.name, algorithm) is not algorithm:
        msg = f"rule '{algorithm.name}' exists already; give yours another name"
        raise UsageError(msg)
    ALGORITHMS[algorithm.name] = algorithm
    return algorithm
