"""Graphs with their public splits, checked before they are opened."""
