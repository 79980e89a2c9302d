"""The catalogue's algorithms as the losses of other people's trainers, what a cluster user runs, and the way back.

answers  a rollout batch as engines hold it, and an algorithm's update of it
trl      TRL's GRPOTrainer with a loss of the catalogue
"""
