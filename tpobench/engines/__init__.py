"""The catalogue's algorithms as the losses of other people's trainers.

answers  a rollout batch as engines hold it, and an algorithm's update of it
trl      TRL's GRPOTrainer with a loss of the catalogue
verl     the algorithms in verl's registries
"""
