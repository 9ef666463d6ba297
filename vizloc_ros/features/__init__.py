"""Local and global image features behind one extractor interface."""
