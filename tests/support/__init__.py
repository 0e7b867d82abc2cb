"""What several test folders share: no test is collected from here."""
