"""What a node knows of the cluster it is in, in parts that own what they know; `Cluster` wires them."""
