"""Who a user is: the pure fold of events into a profile, its stored form, and the store."""
