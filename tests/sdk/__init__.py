"""SDKs others wrote, unmodified, against the sandbox: where they pay, refund and verify, the wire is true."""
