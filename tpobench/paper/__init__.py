"""The TPO paper, figure by figure: its numbers and claims, the suites behind them, and how ours compare."""
