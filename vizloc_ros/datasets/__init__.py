"""Readers that turn recordings and rendered worlds into records."""
