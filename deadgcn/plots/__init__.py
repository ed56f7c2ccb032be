"""Tidy tables in, matplotlib Axes out."""
