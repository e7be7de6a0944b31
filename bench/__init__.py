"""Load against the contracts: how much, how fast, at what cost."""
