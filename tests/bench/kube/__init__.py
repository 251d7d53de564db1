"""What the benchmarks on a test cluster share (``make bench-cluster``)."""
