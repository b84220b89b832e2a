"""What a command line and its configurations say, and what is wrong with them before anything is built."""
