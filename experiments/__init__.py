"""The thesis as a checkable document: its tables, the runs that make them and the claims they support."""
