"""The corpus doctor: what is wrong with a parallel corpus, found in one pass."""
