"""What the pack shares with the translator, copied."""
