"""A deterministic world: virtual time, a lossy network, disks that forget, whole clusters of the shipped code.

Everything follows from one seed. Only TLS, threads and the system's clock, disk and sockets are replaced, through the
interfaces of `dynatwist.runtime`.
"""
