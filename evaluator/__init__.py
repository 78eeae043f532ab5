"""Scores a representation as the NeurIPS 2019 Disentanglement Challenge did."""
