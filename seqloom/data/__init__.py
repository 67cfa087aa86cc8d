"""Files -> examples -> batches. Knows no model."""
