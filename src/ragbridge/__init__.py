"""ragbridge."""
