"""A trained model at work on real text."""
