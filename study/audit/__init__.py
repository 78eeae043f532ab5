"""What do the metrics measure? Representations of known disentanglement, put to all of them."""
