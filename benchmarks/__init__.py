"""Every hot path beside its peers, in the same run: `python -m benchmarks`, or `make bench`."""
