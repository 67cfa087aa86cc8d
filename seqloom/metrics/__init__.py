"""Numbers from answers and references."""
