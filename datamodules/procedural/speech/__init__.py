"""Speech of many voices whose sounds say what the mouth does."""
