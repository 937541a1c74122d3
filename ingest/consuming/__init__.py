"""The consumer loop: poll, handle, commit, back off."""
