"""RunSignUp, as one folder: what to ask, how to read the answers, how to store them, and the one client."""
