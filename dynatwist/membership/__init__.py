"""Membership: SWIM (Das, Gupta and Motivala, 2002), in the terms of memberlist. Pure, like the model."""
