use super::*;

fn text(entry: &Entry) -> Vec<u8> {
    match entry.value() {
        ValueRef::Integer(integer) => integer.to_string().into_bytes(),
        ValueRef::Embedded(bytes) => bytes.to_vec(),
        ValueRef::Raw(bytes) => bytes.to_vec(),
        _ => panic!("no string"),
    }
}

/// Random sequences of everything that moves a string between its forms, beside a plain model.
#[test]
fn strings_keep_key_value_and_expiry_in_every_form() {
    let mut rng = crate::rng::Rng::new(7);
    for round in 0..2_000u64 {
        let key: Vec<u8> = (0..rng.below(40)).map(|i| i as u8).collect();
        let mut value = random_text(&mut rng);
        let mut at_ms = (round % 2 == 0).then_some(round as i64);
        let mut entry = Entry::string(&key, &value, at_ms);
        entry.set_access(round as u32 & 0xff_ffff);
        for _ in 0..8 {
            match rng.below(4) {
                0 => {
                    value = random_text(&mut rng);
                    drop(entry.set_string(&value).old);
                }
                1 => {
                    at_ms = (rng.below(2) == 0).then(|| rng.next_u64() as i64);
                    entry.set_expires_at_ms(at_ms);
                }
                2 => {
                    value.push(b'x');
                    entry.raw_string_mut().unwrap().extend_from_slice(b"x");
                }
                _ => {
                    value = b"12".to_vec();
                    entry.replace_value(Value::Integer(12));
                }
            }
            assert_eq!((entry.key(), entry.expires_at_ms()), (&key[..], at_ms));
            assert_eq!(text(&entry), value);
            assert_eq!(entry.access(), round as u32 & 0xff_ffff);
        }
    }
}

fn random_text(rng: &mut crate::rng::Rng) -> Vec<u8> {
    match rng.below(4) {
        0 => (rng.next_u64() as i64).to_string().into_bytes(),
        1 => vec![b'a'; rng.below(64) as usize],
        2 => vec![b'b'; rng.below(600) as usize],
        _ => Vec::new(),
    }
}

#[test]
fn a_short_string_costs_one_allocation() {
    let entry = Entry::string(b"key:000000000042", b"0123456789abcdef", None);
    assert_eq!(entry.allocated_bytes(), 48);
}
