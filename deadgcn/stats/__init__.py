"""Rows per run in; estimates with uncertainty, and verdicts, out."""
