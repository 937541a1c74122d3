"""The model as serving sees it: the bundle, and Triton behind one small protocol."""
