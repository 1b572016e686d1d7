"""The bounds of the doors that a server may want otherwise, in one place. Counts, bytes, seconds.

Where Meerkat's server has a published limit, ours begins there, so that its clients meet nothing new.
"""

from __future__ import annotations

from attrs import frozen

KIB, MIB = 1024, 1024 * 1024


@frozen(slots=True)
class DoorLimits:
    """What one server takes, from everybody together and from each.

    Connections: `max_connections` of all doors together, `max_sockets` of them live sockets, `max_rpc_clients`.
    JSON-RPC: bytes of a request, a response and a notification, requests of one client under way and in line,
    answers and notifications that wait for a slow client, calls to a client that wait for its answer. No request is
    begun, and no answer put in line, while as many bytes as may be are there: so there can be those of one more. Live
    channels and their sockets: how many, bytes of a frame, what is kept for a slow client or one that comes back, how
    long a lost one may stay away, and what may be said: pictures of a session, text, turns that wait. Tokens: how
    many, and how long each lasts. `max_past_histories`: how many histories of sessions that do not run are kept read.
    """

    max_connections: int = 256
    head_s: float = 10.0
    idle_s: float = 60.0
    request_s: float = 60.0
    max_body_bytes: int = 16 * MIB
    tls_s: float = 10.0
    close_s: float = 2.0

    max_rpc_clients: int = 32
    max_request_bytes: int = 64 * MIB
    max_response_bytes: int = 32 * MIB
    max_notification_bytes: int = 8 * MIB
    max_requests_under_way: int = 64
    max_request_bytes_under_way: int = 128 * MIB
    max_requests_waiting: int = 256
    max_answer_bytes_waiting: int = 64 * MIB
    max_notifications_waiting: int = 1024
    max_calls_to_client: int = 64
    client_call_s: float = 30.0

    max_mobs: int = 64
    max_sessions: int = 256
    max_members: int = 256
    max_streams: int = 64
    max_page: int = 1000
    max_past_histories: int = 16

    max_sockets: int = 32
    max_frame_bytes: int = 2 * MIB
    token_s: float = 60.0
    max_tokens: int = 1024
    resume_s: float = 10.0
    max_channels: int = 256
    max_kept_events: int = 1024
    max_kept_event_bytes: int = 16 * MIB
    max_kept_audio_bytes: int = 8 * MIB
    keep_closed_s: float = 60.0
    max_image_bytes: int = 20 * MIB
    max_images_bytes: int = 40 * MIB
    max_images: int = 1024
    max_image_key_bytes: int = 128
    max_text_bytes: int = 256 * KIB
    max_turns_waiting: int = 16

    max_client_secrets: int = 512
    max_realtime: int = 128
    realtime_s: float = 24 * 3600.0
    max_realtime_items: int = 1024
    max_event_streams: int = 64
    keep_alive_s: float = 15.0

    max_client_tools: int = 128
    client_tool_s: float = 45.0
