"""The operator's command, `hub`: asks by row, waits for rows, and prints what they say."""
