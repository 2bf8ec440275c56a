"""Live changes: the window of recent events, subscriptions, their bounded queues. Pure, like the model."""
