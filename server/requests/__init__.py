"""One call: validation, admission, deadline, and errors as google.rpc.Status."""
