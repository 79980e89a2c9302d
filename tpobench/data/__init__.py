"""Data sets: files, hashes, and what they hold.

files      which files there are, where they lie on this machine, and whether they are the published bytes
images     MNIST and scikit-learn's digits as arrays
download   fetching a published file
models     weights of a language model out of a package of the index
"""

from tpobench.data import files


def __getattr__(name: str) -> object:
    """The names of `files`, which has been this module."""
    return getattr(files, name)
