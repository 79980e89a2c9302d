"""What was run, one record per run.

store        the record, its bytes, the folder of a suite's records, and the packed file
shapes       what every field of a record, a log and a plan may hold
results      the records of several places, as a table of pandas
difference   what two records of one run disagree about
merge        records of several places in one
"""

from tpobench.records import store


def __getattr__(name: str) -> object:
    """The names of `store`, which has been this module."""
    return getattr(store, name)
