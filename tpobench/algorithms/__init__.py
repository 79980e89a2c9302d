"""Policy-update algorithms: a credit (which candidates gain mass) and a fit (how parameters move), paired by name."""
