"""Searches one method's settings."""
