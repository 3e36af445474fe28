"""Pictures: fetched from strangers' addresses and decoded, both without trusting them."""
