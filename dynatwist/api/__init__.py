"""Parsed request in, answer out: what Klein, the websocket and the simulator all call. No HTTP library in here."""
