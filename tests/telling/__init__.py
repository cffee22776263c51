"""What people are told while things happen."""
