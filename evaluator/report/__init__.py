"""The report of one run: a self-contained HTML page."""
