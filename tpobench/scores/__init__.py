"""Records -> comparable numbers.

cells        the arms of a cell: the runs of an algorithm, and their curves
metrics      which numbers a suite's report has
estimates    a metric of an arm with its interval
families     which tests are corrected together
sides        two arms and whether their seeds are paired
measure      a metric by name for comparisons
options      how intervals are made and diverged runs are scored
text         numbers as tables print them
unverified   records of data that are not the published bytes
"""
