"""A run in progress, from its records alone: what is planned, what is there, and how long the rest will take.

reader   the records of a folder as they come
state    what they say of the plan
"""
