"""Pure functions of arrays: estimates, comparisons, censored times; a value or a status with a reason, never a NaN."""
