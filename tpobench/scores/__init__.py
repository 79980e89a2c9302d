"""Records -> comparable numbers.

reporting    how a suite scores: the metric, which way it is better, the ends of its scale
cells        the arms of a cell: the runs of an algorithm, and their curves
scalars      one number per seed, by name
pairing      two arms: whether their seeds are paired, and one test; families of pairs under Holm
pilots       the spread of a comparison to come, and the seeds that would tell
suite_level  scores over all cells, and every pair tested
effects      main effects of the parts of algorithms
estimates    numbers of an arm with their interval
sides        result sets and algorithms of a comparison, and whether they may be compared
options      how intervals are made and diverged runs are scored
text         numbers as tables print them
unverified   records of data that are not the published bytes
"""
