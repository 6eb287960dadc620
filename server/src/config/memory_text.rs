//! Sizes as Redis's configuration writes them: `100`, `64k`, `64kb`, `1gb`.

/// The bytes that a text names; units of 1,000 without the `b`, of 1,024 with it.
pub fn parse_memory(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::parse_memory;

    #[test]
    fn units_are_those_of_redis() {
        let known = [("0", 0), ("12b", 12), ("1k", 1000), ("1KB", 1024), ("2mb", 2 << 20)];
        for (text, bytes) in known {
            assert_eq!(parse_memory(text), Some(bytes), "{text}");
        }
        for text in ["", "kb", "-1", "1.5gb", "1tb", "99999999999gb"] {
            assert_eq!(parse_memory(text), None, "{text}");
        }
    }
}
