"""The search index of the catalogue, in the memory of each process."""
