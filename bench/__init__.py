"""What a payment costs, as ratios: the gateway, a conventional one, and what the machine can do at all."""
