"""Suite and records -> which runs next.

plan       the grid, the seeds, budget matching, jobs
design     how runs are chosen, round after round: what every way has in common, and all of them at once
looks      adaptive seeds: a recorded plan, its looks, and what each leaves to run
levels     a search: which levels of sparsity are run next
choice     from the words of --seeds and the tables of a suite to its design
datasets   where the data of a plan's runs lie
devices    CPUs, GPUs and their memory
"""
