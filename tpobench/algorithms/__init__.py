"""Policy-update rules: a credit (which candidates gain mass) and a fit (how the parameters move), paired by name."""
