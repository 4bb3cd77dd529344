"""What is true about orders and money: no I/O, no async, no clock."""
