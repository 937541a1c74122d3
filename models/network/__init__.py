"""The modules of the network: item tower, user encoder, mixture, ranker."""
