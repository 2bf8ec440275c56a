"""Names in bodies. Handlers check them by themselves, with errors that say more; here is what a schema can say of that.

Bounds in bytes are the node's to choose, and no schema's to say; the descriptions of paths name them.
"""

from typing import Annotated

from msgspec import Meta

PLAIN = r"^[^\u0000-\u001f\u007f-\u009f]+$"
"""Names have no control characters."""
NO_SYSTEM = r"^[^_\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$"
"""Tables that are not the system's."""
NO_RESERVED = r"^(?!service:)[^_#\u0000-\u001f\u007f-\u009f][^#\u0000-\u001f\u007f-\u009f]*$"
"""Users that are nothing else."""
Key = Annotated[str, Meta(extra_json_schema={"minLength": 1, "pattern": PLAIN})]
TableName = Annotated[str, Meta(extra_json_schema={"minLength": 1, "pattern": NO_SYSTEM})]
UserName = Annotated[str, Meta(extra_json_schema={"minLength": 1, "pattern": NO_RESERVED})]
Right = Annotated[str, Meta(extra_json_schema={"enum": ["read", "create", "update", "delete", "write"]})]
Writer = Annotated[str, Meta(extra_json_schema={"pattern": r"^(owner|\*|(user|group):[\s\S]+)$"})]
Reader = Annotated[str, Meta(extra_json_schema={"pattern": r"^(owner|\*|anonymous|(user|group):[\s\S]+)$"})]
