"""The data model: dots, clocks, records and their merge, placement. Pure: no clock, disk, socket or randomness."""
