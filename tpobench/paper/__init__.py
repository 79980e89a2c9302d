"""The TPO paper, figure by figure: its numbers and claims, the suites behind them, and how ours compare.

claim            what a claim compares: scalars, sides, contrasts
claims_dense     claims of sections 3.1 to 3.5: bandits, images, a reward per token
claims_sparse    claims of sections 3.6, 3.7, 4 and appendix E: terminal reward, and why
printed          every printed number, with what measures it here
printed.csv      the numbers
mechanism        figure 4b: its update and its bins
items            figures and tables, with the runs and the claims of each
item_plans       the runs that items need, and the cells that stand in for the paper's at the quick scale
evidence         the records of a suite, and why what is missing is missing
sample           a scalar per seed of an arm
questions        claim -> every pair of arms that it is about
claim_verdicts   claims against the runs: one test per comparison, Holm over the item
number_verdicts  printed numbers against the runs: prediction intervals
exact            numbers that follow from the algorithms alone
forms            formulas and proofs of the paper, against the algorithms
scorecard        what became of an item
scorecards/      scorecards as Markdown, JSON, CSV and text
figures/         what each figure shows, given to the report's panels
"""
