"""For bin/start and bin/test. No other package imports it."""
