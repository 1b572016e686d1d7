"""The JSON-RPC door: compatible with the published Meerkat clients; every difference is kept in this room."""
