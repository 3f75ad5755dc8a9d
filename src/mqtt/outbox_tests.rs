use super::*;
use crate::mqtt::wire::ContentType;

fn message(text: &str) -> Message {
    Message { topic: "t".to_owned(), payload: text.to_owned().into(), content_type: ContentType::Json }
}

fn push(outbox: &mut Outbox, device: &str, text: &str) -> u64 {
    outbox.push(DeviceId::new(device).unwrap(), message(text))
}

fn next(outbox: &mut Outbox, now: Instant) -> Option<(Key, String)> {
    outbox.next(now).map(|(key, message)| (key, String::from_utf8_lossy(&message.payload).into_owned()))
}

fn limits() -> Limits {
    Limits { events: 4, bytes: 1_000, tries: 3, parked: 1, ..Limits::default() }
}

#[test]
fn one_event_of_a_device_is_under_way_and_many_devices_are() {
    let (mut outbox, now) = (Outbox::new(limits()), Instant::now());
    for (device, text) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
        assert_eq!(push(&mut outbox, device, text), 0);
    }
    let (a1, text) = next(&mut outbox, now).unwrap();
    assert_eq!(text, "a1");
    let (b1, text) = next(&mut outbox, now).unwrap();
    assert_eq!(text, "b1");
    assert_eq!(next(&mut outbox, now), None);
    assert_eq!(outbox.under_way(), 2);

    outbox.accepted(a1);
    let (a2, text) = next(&mut outbox, now).unwrap();
    assert_eq!(text, "a2");
    outbox.accepted(b1);
    outbox.accepted(a2);
    assert!(outbox.is_empty() && outbox.lanes.is_empty());
    assert_eq!((outbox.under_way(), outbox.bytes()), (0, 0));
}

#[test]
fn what_was_lost_with_the_connection_goes_first_and_is_the_same() {
    let (mut outbox, now) = (Outbox::new(limits()), Instant::now());
    for (device, text) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
        push(&mut outbox, device, text);
    }
    let (a1, first) = outbox.next(now).unwrap();
    outbox.lost(a1);
    let (again, second) = outbox.next(now).unwrap();
    assert_eq!((a1, first), (again, second));
    // A second word on it changes nothing.
    outbox.lost(a1);
    outbox.lost(a1);
    assert_eq!(outbox.under_way(), 0);
}

#[test]
fn a_refused_event_blocks_only_its_device_and_is_parked_after_the_last_try() {
    let (mut outbox, start) = (Outbox::new(limits()), Instant::now());
    for (device, text) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
        push(&mut outbox, device, text);
    }
    let (a1, _) = next(&mut outbox, start).unwrap();
    assert_eq!(outbox.refused(a1, start), Refused::Waits);
    assert_eq!(next(&mut outbox, start).unwrap().1, "b1");
    assert_eq!(next(&mut outbox, start), None);

    let due = outbox.next_due().unwrap();
    assert_eq!(due, start + Duration::from_secs(1));
    assert_eq!(next(&mut outbox, due), Some((a1, "a1".to_owned())));
    assert_eq!(outbox.refused(a1, due), Refused::Waits);
    let due = outbox.next_due().unwrap();
    assert_eq!(due, start + Duration::from_secs(3));
    assert_eq!(next(&mut outbox, due), Some((a1, "a1".to_owned())));
    assert_eq!(outbox.refused(a1, due), Refused::Parked);
    assert_eq!((outbox.parked_total(), outbox.parked().count()), (1, 1));
    assert_eq!(next(&mut outbox, due).unwrap().1, "a2");
}

#[test]
fn the_oldest_is_dropped_where_there_is_no_room_but_never_what_is_under_way() {
    let (mut outbox, now) = (Outbox::new(limits()), Instant::now());
    push(&mut outbox, "a", "a1");
    next(&mut outbox, now).unwrap();
    for text in ["b1", "b2", "a2"] {
        push(&mut outbox, "b", text);
    }
    assert_eq!(push(&mut outbox, "c", "c1"), 1);
    assert_eq!(outbox.dropped(), 1);
    // b1 went; b2 is first of its lane now.
    assert_eq!(next(&mut outbox, now).unwrap().1, "b2");
    assert_eq!(next(&mut outbox, now).unwrap().1, "c1");
    assert_eq!(next(&mut outbox, now), None);
    let big = "x".repeat(600);
    assert_eq!(push(&mut outbox, "d", &big), 1);
    assert_eq!(push(&mut outbox, "d", &big), 1);
    assert!(outbox.bytes() <= 1_000);
}

#[test]
fn many_random_histories_keep_the_order_of_every_device_and_lose_nothing() {
    use rand::{RngExt as _, SeedableRng as _};
    for seed in 0..200 {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let mut outbox = Outbox::new(Limits { events: 10_000, ..limits() });
        let (mut now, mut made, mut under_way) = (Instant::now(), [0_u32; 4], Vec::new());
        let mut accepted: [Vec<u32>; 4] = Default::default();
        let mut parked = 0;
        for _ in 0..400 {
            match random.random_range(0..6) {
                0 | 1 => {
                    let device = random.random_range(0..4_usize);
                    push(&mut outbox, &format!("d{device}"), &format!("{device} {}", made[device]));
                    made[device] += 1;
                }
                2 | 3 => under_way.extend(next(&mut outbox, now)),
                _ if under_way.is_empty() => now += Duration::from_secs(1),
                choice => {
                    let at = random.random_range(0..under_way.len());
                    let (key, text): (Key, String) = under_way.swap_remove(at);
                    let (device, number) = text.split_once(' ').unwrap();
                    match (choice, random.random_range(0..3)) {
                        (4, 0) => outbox.lost(key),
                        (4, 1) => parked += u32::from(outbox.refused(key, now) == Refused::Parked),
                        _ => {
                            outbox.accepted(key);
                            accepted[device.parse::<usize>().unwrap()].push(number.parse().unwrap());
                        }
                    }
                }
            }
            assert_eq!(outbox.under_way(), under_way.len());
        }
        for lane in &accepted {
            assert!(lane.is_sorted(), "seed {seed}: {lane:?}");
        }
        let done = accepted.iter().map(Vec::len).sum::<usize>() + parked as usize;
        assert_eq!(done + outbox.len(), made.iter().sum::<u32>() as usize, "seed {seed}");
    }
}
