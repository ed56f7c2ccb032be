"""A grid of settings to tidy tables: cached, and in parallel."""
