"""tpobench: the place where a policy-update rule proves itself."""

__version__ = "0.1.0"
