"""How well sources of generated images are discovered: scores of every round, pages of clusters, tables of images."""
