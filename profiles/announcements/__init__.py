"""What is published with every write of a profile, and who listens."""
