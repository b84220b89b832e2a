"""Commands that look at the machine and at finished runs: they need no torch, and answer at once."""
