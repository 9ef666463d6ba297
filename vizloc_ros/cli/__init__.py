"""The `vizloc` command."""
