"""Starts what runs user code.

Environments, packages, archives, and the schedulers that start, stop and observe workers.
"""
