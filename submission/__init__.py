"""Time-budgeted training of a disentangled representation, and its export for the challenge."""
