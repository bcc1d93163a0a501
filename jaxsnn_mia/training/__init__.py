"""Training of hundreds of models at once."""
