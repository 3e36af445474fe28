"""What a user would pick instead, each written as its own documentation begins.

These modules run in the peers' environments (see install.sh), not in ours. ``BENCH_ENGINE`` says
what answers: ``eager`` is torch as it comes, ``ours`` our compiled model and our preprocessing.
``load_per_request_app`` is another way to hold models, not another server, and runs in ours.
"""
