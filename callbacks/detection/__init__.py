"""How well objects are detected: the protocols of the data sets, the recall of proposals, and pictures."""
