"""The parts of a call: validation, admission, deadline, ranking, and errors as google.rpc.Status."""
