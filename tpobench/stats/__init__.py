"""Pure functions of arrays: estimates, comparisons, censored times; a value or a status with a reason, never a NaN.

estimate         means, rates, medians and tails, each with its interval
compare          two arms or a family of them: one guarded test, Holm, ties with the best
equivalence      two arms that are claimed not to differ
guard            the one way to an interval and to a test: a value, or why there is none
intervals        raw intervals
permutation      raw permutation and sign-flip tests
outcomes         counts and censored times compared
censored         steps to a threshold, censored at the budget
curves           whole curves to one scalar, and their band
multiplicity     Holm, Benjamini-Hochberg
sequential       adaptive seeds: looks under a plan
suite_level      scores over all tasks of a suite
power            what the seeds at hand can detect
gate             the regression gate
gate_cells       what it reads and returns
gate_tests       one stage of it
breaking_point   the success probability at which half of the seeds still learn
success_curve    P(learn) over log p0
reproduction     does a sample agree with a printed number
draws            tables of random whole numbers
texts            the words for what is no plain number
"""
