"""What time forgot: one loop shape, claim due rows, act, record, back off."""
