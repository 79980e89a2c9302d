"""Tasks: what is sampled, how it is scored, and how log-probs depend on parameters.

What trains a kind is a module beside these, which the kind's entry in the catalogue names.

catalog          every kind: its settings, what is known of it, and the class that is trained; read without torch
settings         what a kind declares
task             what the training loop asks of a task
classification   groups where one class is named for each image
mechanism        where an update beats a push of the right class
problems         what a pretrained model is asked: sums, word problems, GSM8K, Reasoning Gym
completions      what is recorded of the completions of language models
rewards          targets and rewards of token tasks
word_problems    arithmetic word problems and their solutions
graders          which completions are right
model_memory     what training a pretrained model takes
warm_start       the language model that training by reward starts from
contract         what every kind promises
"""
