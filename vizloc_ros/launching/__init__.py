"""What the launch files do: which parameters each node gets, when nodes are started again, how a bag is played."""
