"""What needs a vote: who is a member, whose a name is; and the rotation of the secret that members share."""
