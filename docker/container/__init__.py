"""Images and containers: built, confined, watched, and what they leave taken with care."""
