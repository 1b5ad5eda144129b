"""What the four services share: words (domain), messages (contracts), and one door to each outside thing."""
