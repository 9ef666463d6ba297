"""Work of the launch files: which parameters each node gets, when nodes are started again, how a bag is played."""
