"""Networks as files that run without this code: what can be exported, how it is written, and how it is checked."""
