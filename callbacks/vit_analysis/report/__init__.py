"""The analysis' arrays as the figures and tables of thesis chapter 2, and as one HTML page that shows them."""
