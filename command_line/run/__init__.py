"""What surrounds a run: its folder and lock, the job it belongs to, what every run has, and how it ends early."""
