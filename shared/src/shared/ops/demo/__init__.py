"""`hub up --demo`: the whole hub against a pretend RunSignUp, from onboarding to the comparison."""
