"""Tasks: what is sampled, how it is scored, and how log-probs depend on parameters."""
