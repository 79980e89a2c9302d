"""Suites of language models for other people's trainers: what is run there, and its logs as records.

model     an engine and a recipe
recipe    a suite as the files of a folder
trl       TRL: its files, and how it names what it logs
verl      verl: its files, and how it names what it logs
grading   how completions are asked for and graded where an engine draws them
trl_run   one run by TRL's trainer
logs      folders of runs -> records
store     records beside those that are there
"""
