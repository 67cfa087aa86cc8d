"""A step function -> sequences: greedy and beam search. Knows no task and no config file."""
