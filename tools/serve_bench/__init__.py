"""What bench_serve.py does to a daemon, and what it asks of it."""
