"""The training of one run. Imports nothing: the clock starts before PyTorch is imported."""
