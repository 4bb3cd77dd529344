"""paymux: one payment API in, every wallet out, and the truth about money whatever breaks."""

__version__ = "0.1.0"
