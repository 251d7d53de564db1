"""What servers need of a cloud and no cluster gives: addresses that last, shares, and how many more there can be."""
