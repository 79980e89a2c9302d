"""Tasks: what is sampled, how it is scored, and how log-probs depend on parameters.

catalog          every kind: its settings, and what is known of it
settings         what a kind declares
task             what the training loop asks of a task
bandit           tabular: one context, and many with exact updates
sampled          tabular: many contexts with sampled candidates
mnist            images
classification   groups where one class is named for each image
mechanism        where an update beats a push of the right class
sequence         token tasks
tokens           groups of next tokens
rewards          their targets and rewards
contract         what every kind promises
"""
