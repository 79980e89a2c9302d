"""Training.

loop         rollout -> credit -> epochs of fit -> measurements
companions   what goes along with a policy: the untrained one, a critic, what modifiers remember
"""
