"""What doors keep beside a mob: found with its key alone, left with its member, gone with a new beginning."""

from __future__ import annotations

from mob.server.rooms import Room, Rooms


def test_a_room_is_made_once_for_each_member_and_left_with_it():
    rooms, keys = Rooms(), Room("keys")
    ann, bob, all_of_it = (rooms.enter(keys, list, of=name) for name in ("ann", "bob", ""))
    ann.append("ann's")
    assert rooms.enter(keys, list, of="ann") is ann
    rooms.leave("ann")
    assert rooms.enter(keys, list, of="ann") == []
    assert rooms.enter(keys, list, of="bob") is bob
    assert rooms.enter(keys, list) is all_of_it


def test_two_rooms_of_one_name_are_two():
    rooms = Rooms()
    assert rooms.enter(Room("keys"), list) is not rooms.enter(Room("keys"), list)


def test_nothing_is_left_after_a_new_beginning():
    rooms, keys = Rooms(), Room("keys")
    before = rooms.enter(keys, list), rooms.enter(keys, list, of="ann")
    rooms.clear()
    assert rooms.enter(keys, list) is not before[0]
    assert rooms.enter(keys, list, of="ann") is not before[1]
