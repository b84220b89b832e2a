"""``python cli.py check-data``: a data set looked over before a training."""
