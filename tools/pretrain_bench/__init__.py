"""What bench_pretrain compares, and how what it found is summed up."""
