"""A run's page, served with its decoder."""
