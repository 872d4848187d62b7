"""Helpers of the tests, and of the benchmarks that start Ray and servers."""
