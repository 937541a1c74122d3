"""One training on several processes, and the device each computes on."""
