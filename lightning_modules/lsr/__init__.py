"""LSR: few-shot talking heads from learned spatial representations (thesis chapter 6.1)."""
