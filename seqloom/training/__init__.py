"""Drives any task: loop, optimizers, schedules, checkpoints, averaging, log."""
