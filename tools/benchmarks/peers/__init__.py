"""What people would use instead, each written as its own documentation begins.

These modules run in the peers' environments (see install.sh), not in ours. ``BENCH_ENGINE`` says
what classifies: ``eager`` is torch as it comes, ``ours`` our compiled model and our preprocessing.
"""
