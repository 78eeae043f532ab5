"""Several scored runs side by side: `python -m evaluator.compare`."""
