"""The process that a stranger's model runs in, and how the scorer talks to it."""
