"""Suite and records -> which runs next.

plan       the grid, the seeds, budget matching, jobs
looks      adaptive seeds: a recorded plan, its looks, and what each leaves to run
levels     a search: which levels of sparsity are run next
datasets   where the data of a plan's runs lie
devices    CPUs, GPUs and their memory
"""
