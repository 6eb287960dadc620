use super::*;

const LIMITS: ParseLimits = ParseLimits { authenticated: true, bulk_bytes_max: 512 << 20 };

fn words(parser: &Parser, buffer: &[u8], inline: bool) -> Vec<Vec<u8>> {
    let source = if inline { &parser.inline_words[..] } else { buffer };
    parser.ranges.iter().map(|r| source[r.start as usize..][..r.len as usize].to_vec()).collect()
}

/// Feeds the bytes in pieces of every size; the outcome must not depend on the size.
fn check(bytes: &[u8], expected: Result<&[&[&str]], &str>) {
    for piece in 1..=bytes.len() {
        let mut parser = Parser::default();
        let (mut buffer, mut commands) = (Vec::new(), Vec::new());
        let mut failure = None;
        for chunk in bytes.chunks(piece) {
            buffer.extend_from_slice(chunk);
            loop {
                match parser.parse(&buffer, LIMITS) {
                    Ok(Parsed::Incomplete) => break,
                    Ok(Parsed::Empty { consumed }) => {
                        parser.reset();
                        buffer.drain(..consumed);
                    }
                    Ok(Parsed::Command { consumed, inline }) => {
                        commands.push(words(&parser, &buffer, inline));
                        parser.reset();
                        buffer.drain(..consumed);
                    }
                    Err(ProtocolError(text)) => {
                        failure.get_or_insert(text);
                        buffer.clear();
                        break;
                    }
                }
            }
            if failure.is_some() {
                break;
            }
        }
        match expected {
            Ok(expected) => {
                assert_eq!(failure, None);
                assert!(buffer.is_empty());
                let expected: Vec<Vec<Vec<u8>>> = expected
                    .iter()
                    .map(|c| c.iter().map(|w| w.as_bytes().to_vec()).collect())
                    .collect();
                assert_eq!(commands, expected, "pieces of {piece}");
            }
            Err(text) => assert_eq!(failure.as_deref(), Some(text), "pieces of {piece}"),
        }
    }
}

#[test]
fn commands_arrive_in_pieces_of_any_size() {
    check(
        b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*0\r\nPING\r\n\r\n*1\r\n$0\r\n\r\nSET a 'b c' \"\\x41\\n\"\n",
        Ok(&[&["GET", "k"], &["PING"], &[""], &["SET", "a", "b c", "A\n"]]),
    );
}

#[test]
fn protocol_errors_have_redis_words() {
    check(b"*x\r\n", Err("invalid multibulk length"));
    check(b"*2147483648\r\n", Err("invalid multibulk length"));
    check(b"*1\r\n!3\r\nGET\r\n", Err("expected '$', got '!'"));
    check(b"*1\r\n$-1\r\n", Err("invalid bulk length"));
    check(b"*1\r\n$999999999999\r\n", Err("invalid bulk length"));
    check(b"SET \"a\r\n", Err("unbalanced quotes in request"));
    check(b"SET \"a\"b\r\n", Err("unbalanced quotes in request"));
}

#[test]
fn endless_lines_are_refused() {
    let limits = ParseLimits { authenticated: false, bulk_bytes_max: 1 << 20 };
    let mut parser = Parser::default();
    let long = vec![b'a'; INLINE_BYTES_MAX + 1];
    assert_eq!(parser.parse(&long, limits), Err(error("too big inline request")));
    let whole = [&long[..], b"\r\n"].concat();
    assert_eq!(Parser::default().parse(&whole, limits), Err(error("too big inline request")));
    let mut head = vec![b'1'; INLINE_BYTES_MAX + 1];
    head[0] = b'*';
    let too_big = Err(error("too big mbulk count string"));
    assert_eq!(Parser::default().parse(&head, limits), too_big);
    head.extend(b"\r\n");
    assert_eq!(Parser::default().parse(&head, limits), too_big);
    assert_eq!(
        Parser::default().parse(b"*11\r\n", limits),
        Err(error("unauthenticated multibulk length"))
    );
    assert_eq!(
        Parser::default().parse(b"*1\r\n$16385\r\n", limits),
        Err(error("unauthenticated bulk length"))
    );
}

#[test]
fn as_many_words_and_bytes_as_allowed_are_taken() {
    let unknown = ParseLimits { authenticated: false, bulk_bytes_max: 1 << 20 };
    let heads = [
        (format!("*{WORDS_MAX}\r\n"), LIMITS),
        (format!("*{UNAUTHENTICATED_WORDS_MAX}\r\n"), unknown),
        (format!("*1\r\n${UNAUTHENTICATED_BULK_BYTES_MAX}\r\n"), unknown),
    ];
    for (head, limits) in heads {
        let mut parser = Parser::default();
        assert_eq!(parser.parse(head.as_bytes(), limits), Ok(Parsed::Incomplete), "{head}");
        assert!(parser.ranges.capacity() <= 16, "nothing is kept for what is only announced");
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut rng = engine::rng::Rng::new(1);
    let alphabet = b"*$\r\n0123456789-\"'\\ abPING\0";
    for _ in 0..20_000 {
        let len = rng.below(64) as usize;
        let bytes: Vec<u8> =
            (0..len).map(|_| alphabet[rng.below(alphabet.len() as u64) as usize]).collect();
        let mut parser = Parser::default();
        let mut rest = &bytes[..];
        while let Ok(Parsed::Command { consumed, .. } | Parsed::Empty { consumed }) =
            parser.parse(rest, LIMITS)
        {
            assert!(consumed > 0);
            parser.reset();
            rest = &rest[consumed..];
        }
    }
}
