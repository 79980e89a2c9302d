"""Training.

loop         rollout -> credit -> epochs of fit -> measurements
watch        which seeds are lost, in which update, and to which part of the algorithm
sampler      what draws: the policy, an older one, or the untrained one once
state        what a run that was interrupted goes on from
companions   what goes along with a policy: the untrained one, a critic, what modifiers remember
"""
