"""Recall, errors, degradations, plots and reports."""
