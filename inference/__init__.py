"""The model in serving: the bundle, and Triton behind one small protocol."""
