"""What schemathesis does not know by itself."""

import schemathesis


@schemathesis.serializer("application/toml")
def toml(_context, value):
    """A text is sent as it is; whether it is TOML is for the API to say."""
    return value.encode() if isinstance(value, str) else str(value).encode()
