"""What turns an image into a pyramid of features: the network's runtime, and plain intensities to compare with."""
