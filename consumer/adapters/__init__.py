"""The outside world, one adapter each; they are thin and do not know each other."""
