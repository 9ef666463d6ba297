"""Commands of `vizloc`."""
