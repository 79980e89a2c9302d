"""Training.

loop   rollout -> credit -> epochs of fit -> measurements
"""
