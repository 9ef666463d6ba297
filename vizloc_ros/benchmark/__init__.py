"""The papers' tables: datasets below one folder in, our rows beside the papers' out."""
