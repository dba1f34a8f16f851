"""What the benchmarks share: processes and what they cost, a client, environments, a Tenfold of their own, tables."""
