"""Users' profiles: the pure fold of events, the stored form, the store, and announcements."""
