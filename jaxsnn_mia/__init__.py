"""Membership-inference audits of spiking and conventional networks."""

__version__ = "0.1.0"
