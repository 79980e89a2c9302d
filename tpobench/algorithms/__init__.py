"""Policy-update algorithms: a credit (which candidates gain mass) and a fit (how the parameters move), paired by name.

catalog        every named algorithm, one entry each, by family; read without torch
algorithm      what an algorithm is: a credit, a fit, and what they ask of a task
groups         the batch that all of them read: groups of scored candidates
credit         credits of the TPO paper
advantages     credits of the field: signed advantages
densities      credits of the field: how much more often a candidate should be drawn than it was
aggregation    from losses of tokens to one loss, as a scale of the credit
fit            fits of the TPO paper
ratios         fits of the field: what the ratio of new to old policy multiplies
regressions    fits of the field: log-ratios drawn to a target
trust_region   the step of TRPO
modifiers      what stands before or beside any of them: `tpo+icepop`
parts          credits and fits put together by name: `loo-clipped`
lazy           torch, which waits until something is computed
slope          the gradient of a loss in two passes, of which the second may be cut in parts
ranges         the ranges of hyperparameters
measure        what credits and fits are written with: averages, ratios to the snapshot
softmax        softmax over candidates
contract       what every algorithm promises
promises       a contract as code
trial          tiny groups on which promises are tried
"""
