DEMO_PASSWORDS = {
    "labeler": "DEMO_LABELER_PASSWORD",
    "reviewer": "DEMO_REVIEWER_PASSWORD",
    "manager": "DEMO_MANAGER_PASSWORD",
}
