"""What bin/start and bin/test run, and the processes that they keep running. Nothing else imports it."""
