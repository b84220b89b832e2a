"""Looking a data set over before a training: its files, classes and boxes, and the first batches of its loaders."""
