"""Reads what a study left, and writes its tables, figures and page."""
