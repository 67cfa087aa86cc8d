"""A step function -> sequences: greedy, beam and diverse search, sampling. Knows no task and no config file."""
