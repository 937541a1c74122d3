"""Puts model versions into service and takes them out: publish, canary, promote, roll back, retire. Applies versions of
the surfaces."""
