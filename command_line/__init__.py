"""What stands behind ``cli.py``: help without torch, the LightningCLI subclass, its messages, and run folders."""
