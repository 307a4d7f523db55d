"""The logins of the demonstration, and the variables that set their passwords."""

# By login. A password is printed once and stored in no file; the environment may set it.
DEMO_PASSWORDS = {
    "labeler": "DEMO_LABELER_PASSWORD",
    "reviewer": "DEMO_REVIEWER_PASSWORD",
    "manager": "DEMO_MANAGER_PASSWORD",
}
