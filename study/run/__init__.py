"""Runs a study: plans it, trains and scores what is missing, here or on a cluster."""
