"""Reading profiles, waiting for their changes, and their view in the API."""
