"""The catalogue of findings: stable codes, how bad each is, why it matters, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Code:
    """One kind of mistake.  error: tables mislead; warning: a claim does not carry; note: read with care."""

    code: str
    name: str
    severity: Severity
    why: str
    remedy: str


_ALL = (
    Code("L001", "unequal-seeds", "error",
         "seeds that one algorithm lacks are rarely missing at random: with the 6 of 20 runs lost that diverged, a "
         "real difference is found in 5% of studies instead of all",
         "run the missing seeds; `tpobench run` with the same suite and --seeds makes only those"),
    Code("L002", "missing-cell", "error",
         "an average over the cells an algorithm happens to have is another benchmark; cells that an algorithm lacks "
         "leave the suite-level score of every algorithm",
         "run the algorithm in the missing cells, or compare the algorithms in separate tables"),
    Code("L003", "dropped-runs", "error",
         "leaving out runs that broke hides failures: where 6 of 20 diverge, the difference is found in 5% of "
         "studies if they are dropped, and in all if they are scored as worst",
         "find out why (`tpobench status`) and run them again (`tpobench run --retry-failed`)"),
    Code("L004", "diverged-runs", "note",
         "diverged runs count as the worst value; without them, where 6 of 20 diverge, a real difference is found in "
         "5% of studies instead of all",
         "say k of n in every table (`tpobench report` does), and show the mean without them as a second line only"),
    Code("L005", "skipped-seeds", "warning",
         "seeds that nobody ran in the middle of a range look picked; choosing the number of seeds after looking is "
         "enough for 18% false positives instead of 5%",
         "run the whole range, or say why these seeds"),
    Code("L006", "cannot-reject", "warning",
         "a permutation test of n against n seeds cannot return less than 2/C(2n, n) (5 against 5: .0079): below the "
         "level of the family nothing can ever be significant, and `not significant` means nothing",
         "add seeds, their number fixed in advance, or declare a smaller family"),
    Code("L007", "few-seeds", "warning",
         "at 3 seeds suite-level intervals cover .87 instead of .95, and only differences above 3 standard "
         "deviations are detected with 80% power",
         "10 seeds for a regression gate, 20 for a paper, 30 to 60 for differences below 1 sd; `tpobench power` says "
         "what yours can detect"),
    Code("L008", "moderate-seeds", "note",
         "with 5 to 9 seeds only differences above 1.4 to 2.1 standard deviations are detected with 80% power",
         "20 seeds for a claim in a paper; `tpobench power` says what yours can detect"),
    Code("L009", "replicated-runs", "error",
         "evaluations or copies of one training run are not replicates: 50 evaluations of 5 runs taken as 250 points "
         "give 70% false positives",
         "check that the seed reaches initialisation, data and sampling; keep one value per trained run"),
    Code("L010", "deterministic-cell", "warning",
         "seeds that change nothing carry no sampling variance: there is one run, and no test or interval",
         "check that the seed reaches the run; of a task without randomness report one run"),
    Code("L020", "unequal-budgets", "error",
         "algorithms that train longer or draw more samples win by that; the gaps between algorithms change between "
         "budgets matched by prompts and by interactions",
         "steps and matching belong to the suite: run all algorithms under one of them"),
    Code("L021", "matched-by-prompts", "note",
         "under matching by prompts algorithms that compare K candidates draw K samples where others draw one; on "
         "bag-of-tokens the gap to the single-sample algorithms narrows substantially under matching by interactions",
         "say `matched by prompts` beside the table, and show matching = \"interactions\" too"),
    Code("L022", "unequal-updates", "note",
         "algorithms with several epochs take more gradient steps from the same samples",
         "name the axis: updates, samples, gradient steps or seconds"),
    Code("L023", "unequal-settings", "error",
         "algorithms of one cell met different tasks, optimizers, precisions or metrics: the difference is not the "
         "algorithm's",
         "run all algorithms of a cell under the same suite file"),
    Code("L024", "mixed-settings", "error",
         "runs of one algorithm under several settings are pooled as if they were seeds of one experiment",
         "keep settings apart with `tpobench run --name`, and report each result set by itself"),
    Code("L025", "unequal-tuning", "warning",
         "a tuned algorithm against an untuned baseline: the best of many noisy settings is optimistic (best of 20: "
         "+1.9 standard deviations)",
         "try as many settings for every algorithm and say how many, or report the published defaults of all"),
    Code("L026", "mixed-versions", "warning",
         "another version of a suite is another experiment under the same name",
         "run all algorithms under the newest version, and report versions apart"),
    Code("L027", "doubled-seeds", "error",
         "a seed that counts twice narrows every interval without new information",
         "keep one run per algorithm, cell and seed; other devices and thread counts belong into another --name"),
    Code("L028", "hidden-factor", "note",
         "a column that takes several values within one algorithm is a second factor, and the seeds of several "
         "settings are pooled",
         "audit each setting by itself, or name the setting in the algorithm or the task column"),
    Code("L029", "look-alike-names", "error",
         "one task or algorithm under two names is two of each, with half of the seeds: tests lose their power, and "
         "runs look missing that are there",
         "spell each name in one way"),
    Code("L040", "unrecorded-seed-scheme", "warning",
         "without the seed scheme nobody can tell whether equal seeds mean equal initialisation and data, so pairing "
         "rests on nothing",
         "run again with this version: it records the scheme"),
    Code("L041", "mixed-seed-schemes", "error",
         "algorithms under different seed schemes share no random numbers: pairing their seeds pairs strangers",
         "run all algorithms with one version of tpobench, or compare them unpaired"),
    Code("L042", "mixed-origins", "warning",
         "algorithms that were run with different code, libraries or machines may differ by those: trajectories are "
         "chaotic in the last bit",
         "run all algorithms of a comparison in one place; `tpobench verify` tells whether the machines agree"),
    Code("L043", "dirty-checkout", "warning",
         "runs of a checkout with uncommitted changes cannot be made again from the recorded commit",
         "commit, and run again; `tpobench verify` tells whether the committed code gives the same numbers"),
    Code("L044", "appended-seeds", "warning",
         "seeds added after a look at the results give 18% false positives instead of 5%",
         "fix the number of seeds in advance, or let `--seeds adaptive:5x4` stop by a recorded plan; if these were "
         "planned, say so"),
    Code("L045", "broken-plan", "error",
         "an adaptive plan keeps its error rate only if it is recorded first and followed: adding seeds at will gives "
         "18% false positives",
         "continue with the `tpobench run --seeds adaptive:...` that the plan names, or start over under another "
         "--name"),
    Code("L046", "unfinished-plan", "warning",
         "a plan that is stopped by hand has not spent its error rate as it promised: what is open so far is open",
         "let `tpobench run` with the --seeds that the plan names go on: it takes the looks that are left"),
    Code("L047", "unverified-data", "warning",
         "a copy of a data set that is not the published one is another experiment under the same name: its numbers "
         "can be compared with nobody's",
         "`tpobench data fetch` gets the published files; run again under another --name, or say in every table what "
         "the data was"),
    Code("L060", "unequal-schedules", "error",
         "runs measured at different steps have windows, areas and first crossings of different meaning",
         "evaluate all algorithms at the same steps: record_every belongs to the suite"),
    Code("L061", "long-window", "warning",
         "a window as long as the curve averages the untrained policy too, and is no final value",
         "train longer, or make the window (report.window, `audit --window`) shorter than the curve"),
    Code("L062", "single-point", "note",
         "the last evaluation alone is noisier than a window: published TPO 7.4% at the last point, 8.7% over "
         "the last 50",
         "set report.window before looking, where evaluations are noisy; exact evaluations need none"),
    Code("L063", "unmeasurable-threshold", "warning",
         "a threshold finer than the evaluation can resolve asks for exactly zero, and a stretch longer than the "
         "curve can never be had: `never reached` would be the suite's doing",
         "evaluate on more samples, or take a threshold above the resolution"),
    Code("L064", "first-crossing", "note",
         "the first noisy crossing flatters: published TPO to 1% in 673 updates (18/20) at one evaluation, 1189 "
         "(15/20) at 50 in a row",
         "report.persist = 3 or more, the same for all algorithms"),
    Code("L065", "worst-not-worst", "error",
         "diverged runs are scored report.worst: where runs that lasted are worse than that, diverging pays",
         "set report.worst (`audit`: --worst) to the worst value that the metric can take"),
    Code("L066", "best-checkpoint", "warning",
         "the best of 20 noisy evaluations is 1.9 standard deviations too good",
         "report the final window; choose checkpoints on a separate split"),
    Code("L080", "misleading-mean", "note",
         "where some seeds solve the task and others do not, mean and IQM describe no seed: published TPO "
         "mean .087, IQM .0125, yet 4 of 20 seeds above 10%",
         "print the solved rate beside every mean (`tpobench report` does)"),
    Code("L081", "ceiling", "note",
         "where every run of every algorithm gets there, the final value cannot rank the algorithms",
         "compare the steps to a threshold, or take a harder cell"),
    Code("L082", "floor", "note",
         "where no algorithm learns, the cell says nothing about their order",
         "train longer, or take an easier cell"),
)  # fmt: skip
CODES = {c.code: c for c in _ALL}
