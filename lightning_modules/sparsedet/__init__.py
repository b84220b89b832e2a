"""SparseDet: detection from sparsely annotated pictures (thesis chapter 3)."""
