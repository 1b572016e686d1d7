"""Neutral commands to client events. Source: OpenAI Realtime reference, client events.

`ref` travels as `event_id`, which an `error` event brings back. A `CreateResponse` carries it in the response's
metadata as well, because `response.created` brings back only that.
"""

from __future__ import annotations

from typing import Final, assert_never

from mob.providers import commands
from mob.providers.frames import JsonObject, dump_frame
from mob.providers.openai_realtime.base64audio import encode_base64
from mob.providers.openai_realtime.decode import REF_KEY
from mob.providers.openai_realtime.names import MAX_APPEND_BYTES
from mob.providers.openai_realtime.session_update import session_update
from mob.values import Image

_MAX_PCM_PER_APPEND: Final = MAX_APPEND_BYTES // 4 * 3

_Control = (
    commands.Configure
    | commands.CommitInput
    | commands.ClearInput
    | commands.AddMessage
    | commands.AddToolCall
    | commands.AddToolResult
    | commands.CreateResponse
    | commands.CancelResponse
    | commands.TruncateItem
    | commands.DeleteItem
)


def encode_command(command: commands.WireCommand) -> list[str]:
    """The text frames that say `command`. One, but for audio longer than an append may be.

    WireError when a `params` value or a tool's schema is not JSON.
    """
    match command:
        case commands.AppendAudio(pcm=pcm):
            if len(pcm) <= _MAX_PCM_PER_APPEND:
                return [_append(pcm)]
            starts = range(0, len(pcm), _MAX_PCM_PER_APPEND)
            return [_append(pcm[start : start + _MAX_PCM_PER_APPEND]) for start in starts]
        case _:
            event = _event(command)
            if command.ref is not None:
                event["event_id"] = command.ref
            return [dump_frame(event)]


def _append(pcm: bytes) -> str:
    return f'{{"type":"input_audio_buffer.append","audio":"{encode_base64(pcm)}"}}'


def _event(command: _Control) -> JsonObject:
    match command:
        case commands.Configure(config=config, previous=previous):
            return {"type": "session.update", "session": session_update(config, previous)}
        case commands.CommitInput():
            return {"type": "input_audio_buffer.commit"}
        case commands.ClearInput():
            return {"type": "input_audio_buffer.clear"}
        case commands.AddMessage():
            return _add_message(command)
        case commands.AddToolCall(item_id=item_id, call_id=call_id, name=name, arguments=arguments):
            call = {"id": item_id, "type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
            return {"type": "conversation.item.create", "item": call}
        case commands.AddToolResult(item_id=item_id, call_id=call_id, output=output):
            result = {"id": item_id, "type": "function_call_output", "call_id": call_id, "output": output}
            return {"type": "conversation.item.create", "item": result}
        case commands.CreateResponse():
            return _create_response(command)
        case commands.CancelResponse(response_id=response_id):
            named = {} if response_id is None else {"response_id": response_id}
            return {"type": "response.cancel", **named}
        case commands.TruncateItem(item_id=item_id, audio_end_ms=end_ms, content_index=index):
            return {
                "type": "conversation.item.truncate",
                "item_id": item_id,
                "content_index": index,
                "audio_end_ms": end_ms,
            }
        case commands.DeleteItem(item_id=item_id):
            return {"type": "conversation.item.delete", "item_id": item_id}
        case _ as never:
            assert_never(never)


def _add_message(message: commands.AddMessage) -> JsonObject:
    kind = "output_text" if message.role == "assistant" else "input_text"
    content: list[JsonObject] = []
    if message.text or not message.images:
        content.append({"type": kind, "text": message.text})
    content.extend({"type": "input_image", "image_url": _data_uri(image)} for image in message.images)
    item = {"id": message.item_id, "type": "message", "role": message.role, "content": content}
    place = {} if message.previous_item_id is None else {"previous_item_id": message.previous_item_id}
    return {"type": "conversation.item.create", "item": item, **place}


def _data_uri(image: Image) -> str:
    return f"data:{image.mime};base64,{encode_base64(image.data)}"


def _create_response(command: commands.CreateResponse) -> JsonObject:
    wanted: JsonObject = {}
    if command.output is not None:
        wanted["output_modalities"] = [command.output]
    if command.instructions is not None:
        wanted["instructions"] = command.instructions
    if command.ref is not None:
        wanted["metadata"] = {REF_KEY: command.ref}
    return {"type": "response.create", **({"response": wanted} if wanted else {})}
