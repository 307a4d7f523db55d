"""The two commands of the README, bin/start and bin/test."""
