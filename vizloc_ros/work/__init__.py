"""Work in units that are kept in files: by threads, processes or Ray, and resumed after a kill."""
