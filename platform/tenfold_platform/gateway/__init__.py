"""The data plane: predict, worklet calls and published views. Plain asyncio on a raw ASGI app; imports no ORM."""
