"""Which way is better, from the name of a metric; only where every word of the name is known."""

from __future__ import annotations

import re

# Words that say which values were taken, of what and when, never which way is better.
NEUTRAL = frozenset({
    "test", "train", "training", "val", "valid", "validation", "eval", "evaluation", "final", "last", "mean", "avg",
    "average", "median", "iqm", "best", "max", "min", "total", "cumulative", "episode", "episodic", "ep", "rollout",
    "normalized", "normalised", "human", "raw", "top1", "top5", "discounted", "undiscounted", "balanced", "simple",
})  # fmt: skip
LOWER = frozenset({
    "error", "errors", "error rate", "err", "loss", "losses", "regret", "cost", "costs", "perplexity", "ppl",
    "mae", "mse", "rmse", "mape", "nll", "cross entropy", "log loss", "logloss", "squared error", "squared errors",
    "absolute error", "root squared error", "squared log error", "root squared log error", "absolute percentage error",
    "poisson deviance", "gamma deviance", "brier score",
})  # fmt: skip
HIGHER = frozenset({
    "accuracy", "acc", "return", "returns", "ret", "reward", "rewards", "rew", "score", "scores", "success",
    "success rate", "solved", "solved rate", "solve rate", "winrate", "win rate", "pass rate", "f1", "f1 score", "auc",
    "auroc", "roc auc", "r2",
})  # fmt: skip
SHOWN = re.compile(r"\s*[(\[]?%[)\]]?\s*$")  # a unit
NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*([ _./-][A-Za-z0-9]+)*")


def lower_is_better(metric: str) -> bool | None:
    """True for `test_error` and `rmse`, False for `avg_return` and `neg_log_loss`, None where it is not known for sure.

    `neg_` before a known loss is scikit-learn's: the negated loss, higher better.
    """
    name = SHOWN.sub("", metric)
    if not NAME.fullmatch(name):
        return None  # 1-accuracy, -loss and |error| are other metrics than their words
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    core = " ".join(w for w in re.split(r"[ _./-]", words.lower()) if w not in NEUTRAL)
    negated = core.removeprefix("neg ")
    if negated != core:
        return False if negated in LOWER else None
    return True if core in LOWER else False if core in HIGHER else None
