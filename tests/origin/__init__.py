"""Where an entry comes from."""
