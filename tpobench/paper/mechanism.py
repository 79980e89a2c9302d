"""Figure 4b: at which update the surplus gain is taken, and by which bins of wrong-class concentration."""

from __future__ import annotations

AT = 2200  # the evaluation that the paper labels 2,000 comes after this many updates
BINS = {
    "[0, 0.25)": ("surplus_sum0", "count0"),
    "[0.25, 0.5)": ("surplus_sum1", "count1"),
    "[0.5, 0.75)": ("surplus_sum2", "count2"),
    "[0.75, 1]": ("surplus_sum3", "count3"),
}  # the summed gain and the number of its examples
