"""Policies: how log-probs depend on parameters, every parameter stacked over seeds."""
