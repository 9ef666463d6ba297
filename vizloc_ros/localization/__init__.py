"""From one image's features to a verified pose: retrieve, cluster, match, solve."""
